import Bytes

/// Server names to what they stand for: the exact name, else the longest `*.` suffix. Immutable.
///
/// One pass over the asked name from its end: the hash of every suffix is on the way to that of the whole name, so that a
/// long name with many labels costs no more than its length.
struct ServerNameTable: Sendable {
    private struct Slot: Sendable {
        var hash: UInt64
        var start: Int32
        var count: Int32
        /// -1: the slot is free.
        var value: Int32
    }

    private var slots: [Slot]
    private var names: [UInt8] = []

    /// Names as keys: in lower case, a wildcard as its suffix with the dot (".example.com").
    init(_ values: [(String, Int32)]) {
        var capacity = 4
        while capacity < values.count * 2 { capacity *= 2 }
        slots = Array(repeating: Slot(hash: 0, start: 0, count: 0, value: -1), count: capacity)
        for (name, value) in values {
            let bytes = Array(name.utf8)
            let hash = bytes.reversed().reduce(Self.seed) { Self.step($0, $1) }
            var at = Int(truncatingIfNeeded: hash) & (capacity - 1)
            while slots[at].value >= 0 { at = (at + 1) & (capacity - 1) }
            slots[at] = Slot(hash: hash, start: Int32(names.count), count: Int32(bytes.count), value: value)
            names.append(contentsOf: bytes)
        }
    }

    /// `name` in lower case.
    func find(_ name: UnsafeRawBufferPointer) -> Int32? {
        guard !name.isEmpty else { return nil }
        var hash = Self.seed
        var suffix: Int32?
        var index = name.count - 1
        while true {
            hash = Self.step(hash, name[index])
            if index == 0 { break }
            // A dot at either end of the name begins no suffix.
            if name[index] == UInt8(ascii: "."), index < name.count - 1 {
                suffix = find(hash, UnsafeRawBufferPointer(rebasing: name[index...])) ?? suffix
            }
            index -= 1
        }
        return find(hash, name) ?? suffix
    }

    private func find(_ hash: UInt64, _ name: UnsafeRawBufferPointer) -> Int32? {
        var at = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[at].value >= 0 {
            let slot = slots[at]
            if slot.hash == hash, Int(slot.count) == name.count,
                names.withUnsafeBytes({ $0[Int(slot.start)..<Int(slot.start + slot.count)].elementsEqual(name) })
            {
                return slot.value
            }
            at = (at + 1) & (slots.count - 1)
        }
        return nil
    }

    private static let seed = FNV1a().value
    private static func step(_ hash: UInt64, _ byte: UInt8) -> UInt64 { (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
}
