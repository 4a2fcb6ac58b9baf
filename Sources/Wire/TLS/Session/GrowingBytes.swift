import Glibc

/// Bytes that are appended at the end and taken from the front, in memory that is held only while there are some.
///
/// A struct around one allocation, owned by whoever holds the variable: copies must not outlive or outgrow each other, so
/// it is never passed on by value. Call `deallocate` in the owner's `deinit`.
package struct GrowingBytes {
    @usableFromInline var base: UnsafeMutableRawPointer?
    /// Bytes that fit before memory is moved; 0 when none is held.
    @usableFromInline package private(set) var capacity = 0
    @usableFromInline var start = 0
    @usableFromInline package private(set) var count = 0

    package init() {}

    @inlinable package var isEmpty: Bool { count == 0 }

    /// Valid until the next change.
    @inlinable package var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base.map { $0 + start }, count: count)
    }

    @inlinable
    package mutating func append(_ more: UnsafeRawBufferPointer) {
        guard let source = more.baseAddress, !more.isEmpty else { return }
        room(for: more.count).copyMemory(from: source, byteCount: more.count)
        count &+= more.count
    }

    @inlinable
    package mutating func append(_ text: StaticString) {
        append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    @inlinable
    package mutating func append(_ byte: UInt8) {
        room(for: 1).storeBytes(of: byte, as: UInt8.self)
        count &+= 1
    }

    // Not named like the others: a literal would become a `String`, which counts references, instead of a `StaticString`.
    @inlinable
    package mutating func append(utf8 text: String) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    /// Appends a number in decimal.
    @inlinable
    package mutating func append(decimal value: Int) {
        var rest = value.magnitude
        if value < 0 { append(UInt8(ascii: "-")) }
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
            var at = 20
            repeat {
                at &-= 1
                digits[at] = UInt8(truncatingIfNeeded: rest % 10) &+ 48
                rest /= 10
            } while rest > 0
            append(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(digits)[at...]))
        }
    }

    /// Makes room for `more` bytes at once, and for no more than that: for those who know what comes.
    @inlinable
    package mutating func reserve(_ more: Int) {
        if start &+ count &+ more > capacity { move(to: count &+ more) }
    }

    /// Adds `more` bytes that the caller writes, all of them, before anything else happens here.
    @inlinable
    package mutating func extend(by more: Int) -> UnsafeMutableRawPointer {
        let place = room(for: more)
        count &+= more
        return place
    }

    /// Takes bytes from the front; the memory goes when the last is taken.
    @inlinable
    package mutating func removeFirst(_ taken: Int) {
        precondition(taken >= 0 && taken <= count, "more was taken than was there")
        start &+= taken
        count &-= taken
        if count == 0 { deallocate() }
    }

    /// Takes bytes from the end.
    @inlinable
    package mutating func removeLast(_ taken: Int) {
        precondition(taken >= 0 && taken <= count, "more was taken than was there")
        count &-= taken
    }

    /// Forgets all bytes but keeps memory of an ordinary size for the next: for scratch that many connections share.
    @inlinable
    package mutating func clear() {
        if capacity > 256 << 10 { return deallocate() }
        start = 0
        count = 0
    }

    @inlinable
    package mutating func deallocate() {
        base?.deallocate()
        base = nil
        capacity = 0
        start = 0
        count = 0
    }

    /// Where `more` bytes may be written behind those there are.
    @inlinable
    mutating func room(for more: Int) -> UnsafeMutableRawPointer {
        if start &+ count &+ more > capacity { grow(by: more) }
        return base.unsafelyUnwrapped + (start &+ count)
    }

    @usableFromInline
    mutating func grow(by more: Int) {
        // Half of the memory at least is free then, so that moving costs no more than what was appended.
        if let base, count + more <= capacity / 2 {
            memmove(base, base + start, count)
            start = 0
            return
        }
        move(to: max(1024, (count + more) * 2))
    }

    @usableFromInline
    mutating func move(to size: Int) {
        let next = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        if let base {
            next.copyMemory(from: base + start, byteCount: count)
            base.deallocate()
        }
        base = next
        capacity = size
        start = 0
    }
}
