public import Bytes

/// Writes netlink messages and their attributes into one growing buffer: headers in host order, attributes aligned to
/// four bytes, nests by remembering their start and patching their length.
///
/// An attribute is at most 65535 bytes long (`nla_len` has 16 bits). One that would be longer is left out and
/// `overflowed` says so; a connection refuses to send such a buffer.
public struct NetlinkWriter: Sendable {
    /// The largest attribute, header included.
    public static let attributeLimit = 0xFFFF

    public var bytes: [UInt8]
    /// Whether an attribute was too long to be written.
    public private(set) var overflowed = false

    @inlinable
    public init(reserving capacity: Int = 0) {
        bytes = []
        bytes.reserveCapacity(capacity)
    }

    @inlinable public var count: Int { bytes.count }

    // MARK: Plain fields

    /// An integer in host order, as the fixed headers of netlink families are.
    @inlinable
    public mutating func put(_ value: some FixedWidthInteger & BitwiseCopyable) {
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }

    @inlinable public mutating func put(_ more: UnsafeRawBufferPointer) { bytes.append(contentsOf: more) }

    @inlinable
    public mutating func pad() {
        switch bytes.count & 3 {
        case 1: put(UInt16(0)); bytes.append(0)
        case 2: put(UInt16(0))
        case 3: bytes.append(0)
        default: break
        }
    }

    // MARK: Messages

    /// One message: header, then what `body` writes, then the header's length patched.
    @inlinable
    public mutating func message(
        type: UInt16, flags: NetlinkFlags, sequence: UInt32, _ body: (inout NetlinkWriter) -> Void
    ) {
        let start = beginMessage(type: type, flags: flags, sequence: sequence)
        body(&self)
        endMessage(start)
    }

    /// The header of a message that ends with `endMessage`; the value is its position.
    @inlinable
    public mutating func beginMessage(type: UInt16, flags: NetlinkFlags, sequence: UInt32) -> Int {
        let start = bytes.count
        put(UInt32(0))
        put(type)
        put(flags.rawValue)
        put(sequence)
        put(UInt32(0))
        return start
    }

    @inlinable
    public mutating func endMessage(_ start: Int) {
        patch(UInt32(truncatingIfNeeded: bytes.count - start), at: start)
        pad()
    }

    // MARK: Attributes

    @inlinable
    public mutating func attribute(_ type: UInt16, _ value: UnsafeRawBufferPointer) {
        guard reserve(value.count) else { return }
        header(type, value.count)
        bytes.append(contentsOf: value)
        pad()
    }

    @inlinable
    public mutating func attribute(_ type: UInt16, _ value: [UInt8]) {
        value.withUnsafeBytes { attribute(type, $0) }
    }

    /// An integer in host order.
    @inlinable
    public mutating func attribute(_ type: UInt16, _ value: some FixedWidthInteger & BitwiseCopyable) {
        withUnsafeBytes(of: value) { attribute(type, $0) }
    }

    /// An integer in network order: all that nfnetlink families take.
    @inlinable
    public mutating func attribute(_ type: UInt16, bigEndian value: some FixedWidthInteger & BitwiseCopyable) {
        attribute(type, value.bigEndian)
    }

    /// Text with its terminating zero. Text with a zero inside ends there, as the kernel would read it.
    @inlinable
    public mutating func attribute(_ type: UInt16, _ text: String) {
        let utf8 = text.utf8
        guard reserve(utf8.count + 1) else { return }
        header(type, utf8.count + 1)
        bytes.append(contentsOf: utf8)
        bytes.append(0)
        pad()
    }

    @inlinable
    public mutating func attribute(_ type: UInt16, _ address: IPAddress) {
        address.withBytes { attribute(type, $0) }
    }

    /// An attribute without a value: its presence is the message.
    @inlinable public mutating func flag(_ type: UInt16) { header(type, 0) }

    @inlinable
    public mutating func nest(_ type: UInt16, _ body: (inout NetlinkWriter) -> Void) {
        let start = beginNest(type)
        body(&self)
        endNest(start)
    }

    /// Opens a nest that ends with `endNest`; the value is its position.
    @inlinable
    public mutating func beginNest(_ type: UInt16) -> Int {
        let start = bytes.count
        header(type | 0x8000, 0)
        return start
    }

    @inlinable
    public mutating func endNest(_ start: Int) {
        let length = bytes.count - start
        guard length <= Self.attributeLimit else {
            bytes.removeSubrange(start...)
            markOverflow()
            return
        }
        patch(UInt16(truncatingIfNeeded: length), at: start)
    }

    // MARK: -

    @inlinable
    mutating func header(_ type: UInt16, _ length: Int) {
        put(UInt16(truncatingIfNeeded: length + 4))
        put(type)
    }

    @inlinable
    mutating func reserve(_ length: Int) -> Bool {
        guard length <= Self.attributeLimit - 4 else {
            markOverflow()
            return false
        }
        return true
    }

    /// Marks the buffer as not to be sent, because a part of it overflowed.
    mutating func refuse() { overflowed = true }

    @usableFromInline mutating func markOverflow() { overflowed = true }

    @inlinable
    mutating func patch<I: FixedWidthInteger & BitwiseCopyable>(_ value: I, at position: Int) {
        bytes.withUnsafeMutableBytes { $0.storeBytes(of: value, toByteOffset: position, as: I.self) }
    }
}
