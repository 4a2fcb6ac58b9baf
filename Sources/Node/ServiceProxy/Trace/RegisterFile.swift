import Netlink

/// nf_tables' sixteen registers of four bytes, and which of them a rule has loaded.
struct RegisterFile: Sendable {
    private var bytes = [UInt8](repeating: 0, count: 64)
    /// One bit a register.
    private var loaded: UInt16 = 0

    /// What a rule must not do: read what it has not loaded, or leave the file.
    struct Violation: Error, CustomStringConvertible { var description: String }

    /// Stores and pads with zeros to the end of the last register, as the kernel does.
    mutating func store(_ value: [UInt8], at register: NFRegister) throws(Violation) {
        let start = Int(register.slot) * 4
        let slots = (value.count + 3) / 4
        guard slots > 0, start + slots * 4 <= bytes.count else {
            throw Violation(description: "\(value.count) bytes do not fit from register \(register.slot) on")
        }
        bytes.replaceSubrange(
            start..<start + slots * 4, with: value + [UInt8](repeating: 0, count: slots * 4 - value.count))
        for slot in Int(register.slot)..<Int(register.slot) + slots { loaded |= 1 << UInt16(slot) }
    }

    func load(_ count: Int, at register: NFRegister) throws(Violation) -> [UInt8] {
        let start = Int(register.slot) * 4
        let slots = (count + 3) / 4
        guard start + slots * 4 <= bytes.count else {
            throw Violation(description: "\(count) bytes from register \(register.slot) on leave the file")
        }
        for slot in Int(register.slot)..<Int(register.slot) + slots where loaded & 1 << UInt16(slot) == 0 {
            throw Violation(description: "register \(slot) is read and was not loaded by this rule")
        }
        return Array(bytes[start..<start + count])
    }

    func word(_ register: NFRegister) throws(Violation) -> UInt32 {
        try load(4, at: register).withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) }
    }
}
