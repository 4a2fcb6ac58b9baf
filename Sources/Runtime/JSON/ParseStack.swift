/// Values that belong to containers which are not complete yet, innermost last.
///
/// One stack serves a whole text, so a container is allocated once, at its final size, and never grows.
struct ParseStack<Element>: ~Copyable {
    private(set) var base: UnsafeMutablePointer<Element>
    private(set) var count = 0
    private var capacity = 32

    init() { base = .allocate(capacity: capacity) }

    deinit {
        base.deinitialize(count: count)
        base.deallocate()
    }

    mutating func push(_ element: consuming Element) {
        if count == capacity {
            let next = UnsafeMutablePointer<Element>.allocate(capacity: 2 * capacity)
            next.moveInitialize(from: base, count: count)
            base.deallocate()
            base = next
            capacity *= 2
        }
        (base + count).initialize(to: element)
        count += 1
    }

    /// The elements from `start` on were moved out; the stack ends before them.
    mutating func dropMoved(from start: Int) { count = start }
}
