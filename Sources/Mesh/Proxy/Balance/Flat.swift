/// An array that never changes after it was made, as memory that many threads read through its pointer without touching a
/// reference count. The pointer lives as long as this object.
final class Flat<Element: BitwiseCopyable & Sendable>: @unchecked Sendable {
    // Unchecked because of the pointer; nothing writes to what it points to after the initialiser.
    let pointer: UnsafePointer<Element>
    let count: Int

    init(_ elements: [Element]) {
        let memory = UnsafeMutablePointer<Element>.allocate(capacity: max(elements.count, 1))
        elements.withUnsafeBufferPointer { source in
            if let base = source.baseAddress { memory.initialize(from: base, count: source.count) }
        }
        pointer = UnsafePointer(memory)
        count = elements.count
    }

    deinit { pointer.deallocate() }

    var elements: UnsafeBufferPointer<Element> { UnsafeBufferPointer(start: pointer, count: count) }
}
