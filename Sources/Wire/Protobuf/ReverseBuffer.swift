import Glibc

/// Bytes that are written from the end towards the front, so that a message's length is known when its header is due
/// and nothing is measured beforehand or moved afterwards.
public struct ReverseBuffer: ~Copyable {
    private var base: UnsafeMutablePointer<UInt8>
    private var capacity: Int
    /// How many bytes there are; they end at `base + capacity`.
    public private(set) var count = 0

    public init(capacity: Int = 1024) {
        self.capacity = capacity
        base = .allocate(capacity: capacity)
    }

    deinit { base.deallocate() }

    public var bytes: [UInt8] { Array(UnsafeBufferPointer(start: base + (capacity - count), count: count)) }

    /// Valid within the call.
    public func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try body(UnsafeRawBufferPointer(start: base + (capacity - count), count: count))
    }

    /// Its memory stays.
    public mutating func removeAll() { count = 0 }

    private mutating func reserve(_ more: Int) {
        guard capacity - count < more else { return }
        var grown = capacity * 2
        while grown - count < more { grown *= 2 }
        let next = UnsafeMutablePointer<UInt8>.allocate(capacity: grown)
        memcpy(next + (grown - count), base + (capacity - count), count)
        base.deallocate()
        base = next
        capacity = grown
    }

    public mutating func prepend(_ byte: UInt8) {
        reserve(1)
        count += 1
        base[capacity - count] = byte
    }

    public mutating func prepend(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, !bytes.isEmpty else { return }
        reserve(bytes.count)
        count += bytes.count
        memcpy(base + (capacity - count), source, bytes.count)
    }

    public mutating func prepend(_ bytes: [UInt8]) { bytes.withUnsafeBytes { prepend($0) } }

    /// The text's bytes, and how many they are.
    public mutating func prepend(_ text: String) -> Int {
        var text = text
        let added = text.withUTF8 { bytes in
            prepend(UnsafeRawBufferPointer(bytes))
            return bytes.count
        }
        return added
    }

    public mutating func prepend(varint value: UInt64) {
        if value < 0x80 { return prepend(UInt8(value)) }
        let length = (value.bitWidth - value.leadingZeroBitCount + 6) / 7
        reserve(length)
        count += length
        var rest = value
        var at = capacity - count
        while rest >= 0x80 {
            base[at] = UInt8(truncatingIfNeeded: rest) | 0x80
            rest >>= 7
            at += 1
        }
        base[at] = UInt8(rest)
    }

    public mutating func prepend(fixed64 value: UInt64) {
        withUnsafeBytes(of: value.littleEndian) { prepend($0) }
    }

    public mutating func prepend(fixed32 value: UInt32) {
        withUnsafeBytes(of: value.littleEndian) { prepend($0) }
    }

    public mutating func prepend(field number: Int, _ wire: WireType) {
        prepend(varint: UInt64(number) << 3 | UInt64(wire.rawValue))
    }

    /// The header of a field whose value was written since there were `mark` bytes.
    public mutating func close(field number: Int, since mark: Int) {
        prepend(varint: UInt64(count - mark))
        prepend(field: number, .bytes)
    }

    public mutating func prepend(field number: Int, text: String) {
        let mark = count
        _ = prepend(text)
        close(field: number, since: mark)
    }
}
