import CLinux

/// The C library's heap, from which all of Swift's objects come.
public enum Heap {
    /// Gives free memory back to the kernel, of all arenas and between what is in use; the allocator alone keeps it for later.
    /// For programs that needed much at their start and will need little. Takes milliseconds for each 100 MB.
    public static func giveBack() { malloc_trim(0) }
}
