/// A queue in one block of memory that grows by doubling: append at the end, remove at the front, read anywhere.
public struct Ring<Element> {
    private var slots: [Element?] = Array(repeating: nil, count: 64)
    private var head = 0
    public private(set) var count = 0

    public var isEmpty: Bool { count == 0 }

    public init() {}

    /// Oldest first.
    public subscript(position: Int) -> Element {
        precondition(position >= 0 && position < count, "position \(position) of a ring of \(count)")
        return slots[(head &+ position) & (slots.count &- 1)].unsafelyUnwrapped
    }

    /// Behind the newest.
    public mutating func append(_ element: Element) {
        if count == slots.count { resize(to: slots.count * 2) }
        slots[(head &+ count) & (slots.count &- 1)] = element
        count += 1
    }

    /// - Precondition: not empty.
    public mutating func removeFirst() -> Element {
        precondition(count > 0, "nothing to remove")
        let element = slots[head].unsafelyUnwrapped
        slots[head] = nil
        head = (head &+ 1) & (slots.count &- 1)
        count -= 1
        // Shrink late, so that a queue that breathes does not resize at each breath.
        if slots.count > 1024, count < slots.count / 8 { resize(to: slots.count / 4) }
        return element
    }

    private mutating func resize(to capacity: Int) {
        var grown: [Element?] = Array(repeating: nil, count: capacity)
        for position in 0..<count { grown[position] = self[position] }
        slots = grown
        head = 0
    }
}
