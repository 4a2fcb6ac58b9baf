/// Appends integers and bytes to an array that it owns; places can be left open and patched when their value is known.
public struct ByteWriter: Sendable {
    /// What was written so far. Take it when done.
    public var bytes: [UInt8]

    @inlinable
    public init(reserving capacity: Int = 0) {
        bytes = []
        bytes.reserveCapacity(capacity)
    }

    @inlinable public var count: Int { bytes.count }

    @inlinable public mutating func append(_ byte: UInt8) { bytes.append(byte) }
    @inlinable public mutating func append(_ more: some Collection<UInt8>) { bytes.append(contentsOf: more) }
    @inlinable public mutating func append(_ more: UnsafeRawBufferPointer) { bytes.append(contentsOf: more) }
    @inlinable public mutating func append(utf8 text: String) { bytes.append(contentsOf: text.utf8) }
    @inlinable public mutating func appendZeros(_ count: Int) {
        bytes.append(contentsOf: repeatElement(0, count: count))
    }

    /// Network order, as all of these without a suffix.
    @inlinable public mutating func append(_ value: UInt16) { appendNative(value.bigEndian) }
    @inlinable public mutating func append(_ value: UInt32) { appendNative(value.bigEndian) }
    @inlinable public mutating func append(_ value: UInt64) { appendNative(value.bigEndian) }
    @inlinable public mutating func appendLE(_ value: UInt16) { appendNative(value.littleEndian) }
    @inlinable public mutating func appendLE(_ value: UInt32) { appendNative(value.littleEndian) }
    @inlinable public mutating func appendLE(_ value: UInt64) { appendNative(value.littleEndian) }

    /// An integer as this machine stores it: netlink headers.
    @inlinable
    public mutating func appendNative(_ value: some FixedWidthInteger & BitwiseCopyable) {
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }

    /// Zeros up to the next multiple of `alignment`, a power of two.
    @inlinable
    public mutating func pad(to alignment: Int) { appendZeros(-bytes.count & (alignment - 1)) }

    /// Overwrites two bytes at `position`, which must have been written before.
    @inlinable
    public mutating func patch(_ value: UInt16, at position: Int) { patchNative(value.bigEndian, at: position) }
    @inlinable
    public mutating func patch(_ value: UInt32, at position: Int) { patchNative(value.bigEndian, at: position) }

    @inlinable
    public mutating func patchNative<I: FixedWidthInteger & BitwiseCopyable>(_ value: I, at position: Int) {
        precondition(
            position >= 0 && position + MemoryLayout<I>.size <= bytes.count, "a patch outside of what was written")
        bytes.withUnsafeMutableBytes { $0.storeBytes(of: value, toByteOffset: position, as: I.self) }
    }
}
