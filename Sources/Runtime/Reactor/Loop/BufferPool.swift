/// Blocks of memory in a few sizes for bytes that must wait on a loop: the rest of a message that has not come in whole,
/// output that the peer does not take yet. Nothing is held for a connection without such bytes. On the loop only.
final class BufferPool {
    /// A block on loan. Plain value: whoever holds it gives it back exactly once.
    struct Block {
        var base: UnsafeMutableRawPointer
        /// Index into `sizes`, or -1 for a block that was larger than all of them and is not kept.
        var sizeClass: Int8
        var capacity: Int
    }

    static let sizes = [4 << 10, 16 << 10, 64 << 10]
    static var largest: Int { sizes[sizes.count - 1] }
    /// Free blocks kept of each size; what comes back beyond that returns to the system.
    static let kept = [256, 64, 32]

    private var free: [[UnsafeMutableRawPointer]] = sizes.map { _ in [] }
    /// How many are on loan: 0 when all connections are idle.
    private(set) var onLoan = 0

    deinit {
        for blocks in free { for block in blocks { block.deallocate() } }
    }

    /// A block of at least `count` bytes.
    func take(atLeast count: Int) -> Block {
        onLoan += 1
        for (index, size) in Self.sizes.enumerated() where count <= size {
            let base = free[index].popLast() ?? .allocate(byteCount: size, alignment: 16)
            return Block(base: base, sizeClass: Int8(index), capacity: size)
        }
        return Block(base: .allocate(byteCount: count, alignment: 16), sizeClass: -1, capacity: count)
    }

    func give(back block: Block) {
        onLoan -= 1
        let index = Int(block.sizeClass)
        if index >= 0, free[index].count < Self.kept[index] {
            free[index].append(block.base)
        } else {
            block.base.deallocate()
        }
    }
}
