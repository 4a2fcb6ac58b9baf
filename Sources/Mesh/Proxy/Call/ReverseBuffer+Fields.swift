import Protobuf

extension ReverseBuffer {
    /// A text or bytes field; nothing for an empty one.
    mutating func prepend(field number: Int, bytes: UnsafeRawBufferPointer) {
        guard !bytes.isEmpty else { return }
        let mark = count
        prepend(bytes)
        close(field: number, since: mark)
    }

    mutating func prepend(field number: Int, bytes: [UInt8]) {
        bytes.withUnsafeBytes { prepend(field: number, bytes: $0) }
    }

    /// A text field; nothing for an empty text.
    mutating func prepend(field number: Int, said text: String) {
        if !text.isEmpty { prepend(field: number, text: text) }
    }

    /// A field of an integer type without zigzag; nothing for zero.
    mutating func prepend(field number: Int, varint value: UInt64) {
        guard value != 0 else { return }
        prepend(varint: value)
        prepend(field: number, .varint)
    }

    /// A message of what `body` prepends, fields last to first.
    mutating func prepend(field number: Int, message body: (inout ReverseBuffer) -> Void) {
        let mark = count
        body(&self)
        close(field: number, since: mark)
    }

    /// An entry of a map from text to text.
    mutating func prepend(field number: Int, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        prepend(field: number) { entry in
            entry.prepend(field: 2, bytes: value)
            entry.prepend(field: 1, bytes: key)
        }
    }
}
