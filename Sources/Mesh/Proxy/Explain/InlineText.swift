// Explain: what happened to requests, kept for a while so that somebody can ask. Written when a stream ends, in fixed-size records
// that are used again; read and put into sentences only when somebody asks.

/// Text of a bounded length that stands where it is kept: storing one allocates nothing. What is longer is cut.
struct InlineText<let capacity: Int> {
    private var storage = InlineArray<capacity, UInt8>(repeating: 0)
    private(set) var count: UInt8 = 0
    private(set) var isCut = false

    @inline(__always)
    mutating func set(_ text: UnsafeRawBufferPointer?) {
        guard let text else {
            (count, isCut) = (0, false)
            return
        }
        let kept = min(text.count, min(capacity, Int(UInt8.max)))
        count = UInt8(truncatingIfNeeded: kept)
        isCut = kept < text.count
        withUnsafeMutableBytes(of: &storage) { $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: text[..<kept])) }
    }

    var string: String {
        withUnsafeBytes(of: storage) { String(decoding: $0[..<Int(count)], as: UTF8.self) } + (isCut ? "…" : "")
    }

    /// `text` is what was stored, as far as that was kept.
    func isSame(as text: String) -> Bool {
        let wanted = Array(text.utf8.prefix(capacity))
        return count > 0 && withUnsafeBytes(of: storage) { $0[..<Int(count)].elementsEqual(wanted) }
    }
}
