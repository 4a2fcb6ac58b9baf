/// What the kernel keeps for user space beside an object and does not look at: `nft` puts comments and byte orders there,
/// as type, length (one byte each) and value.
enum NFUserData {
    /// What fits: a zero ends the text, and the length is one byte. `nft` prints at most 128.
    static let commentLimit = 128

    static func comment(_ text: String, type: UInt8) -> [UInt8] {
        var bytes: [UInt8] = []
        appendComment(text, type: type, to: &bytes)
        return bytes
    }

    static func appendComment(_ text: String, type: UInt8, to bytes: inout [UInt8]) {
        let text = text.utf8.prefix(commentLimit)
        bytes.append(type)
        bytes.append(UInt8(text.count + 1))
        bytes.append(contentsOf: text)
        bytes.append(0)
    }

    static func append(_ value: UInt32, type: UInt8, to bytes: inout [UInt8]) {
        bytes.append(type)
        bytes.append(4)
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }

    static func comment(in bytes: UnsafeRawBufferPointer, type: UInt8) -> String? {
        var offset = 0
        while offset + 2 <= bytes.count {
            let length = Int(bytes[offset + 1])
            guard offset + 2 + length <= bytes.count else { return nil }
            if bytes[offset] == type {
                let text = bytes[(offset + 2)..<(offset + 2 + length)].prefix { $0 != 0 }
                return String(validating: text, as: UTF8.self)
            }
            offset += 2 + length
        }
        return nil
    }
}
