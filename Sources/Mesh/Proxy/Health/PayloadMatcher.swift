import Bytes

/// Looks for pieces of bytes in what a health check receives: each must be there, after the one before it; anything may be
/// between them.
struct PayloadMatcher: Hashable, Sendable {
    let pieces: [[UInt8]]

    init(_ pieces: [[UInt8]]) { self.pieces = pieces }

    /// From hexadecimal text, as `Payload.text` has it.
    init(hexadecimal texts: [String]) throws(BalanceConfigError) {
        var pieces: [[UInt8]] = []
        for text in texts {
            guard !text.isEmpty, let bytes = Hex.decode(text) else {
                throw BalanceConfigError("health check payload \"\(text)\" must be hexadecimal digits in pairs")
            }
            pieces.append(bytes)
        }
        self.pieces = pieces
    }

    /// Whether all are there. More bytes may make it true later.
    func matches(_ bytes: some Collection<UInt8>) -> Bool {
        let bytes = Array(bytes)
        var at = 0
        for piece in pieces {
            guard let end = Self.find(piece, in: bytes, from: at) else { return false }
            at = end
        }
        return true
    }

    /// The end of the first occurrence.
    private static func find(_ piece: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
        var at = start
        while at + piece.count <= bytes.count {
            if bytes[at..<at + piece.count].elementsEqual(piece) { return at + piece.count }
            at += 1
        }
        return nil
    }
}
