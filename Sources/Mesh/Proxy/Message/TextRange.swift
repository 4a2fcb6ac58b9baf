/// Where a piece of text lies in a `HeaderBlock`.
package struct TextRange: Hashable, Sendable {
    var offset: UInt32
    var count: UInt32

    package static let empty = TextRange(offset: 0, count: 0)

    package init(offset: UInt32, count: UInt32) { (self.offset, self.count) = (offset, count) }

    init(_ offset: Int, _ count: Int) {
        self.init(offset: UInt32(truncatingIfNeeded: offset), count: UInt32(truncatingIfNeeded: count))
    }

    var isEmpty: Bool { count == 0 }
}
