import CLinux
import Glibc
import Reactor

/// A process that cannot be mistaken for a later one of the same number: its id and when it started, in clock ticks since boot.
struct ProcessIdentity: Hashable, Sendable {
    var id: pid_t
    var started: UInt64

    /// Nil when there is no such process (a zombie counts as none).
    init?(running id: pid_t) {
        guard let bytes = try? Files.read("/proc/\(id)/stat", limit: 4096),
            // The name in parentheses may itself hold spaces and parentheses.
            let end = bytes.lastIndex(of: UInt8(ascii: ")"))
        else { return nil }
        let fields = String(decoding: bytes[(end + 1)...], as: UTF8.self).split(separator: " ")
        // Field 3 of proc(5) is the state, 22 the start; `fields` begins with the third.
        guard fields.count > 19, fields[0] != "Z", fields[0] != "X", let started = UInt64(fields[19]) else {
            return nil
        }
        self.id = id
        self.started = started
    }

    /// As `save` wrote it.
    init?(file: String) {
        func number(_ suffix: String) -> UInt64? {
            (try? Files.readText(file + suffix, limit: 64)).flatMap { UInt64($0.prefix { $0.isNumber }) }
        }
        guard let id = number(".pid").flatMap({ pid_t(exactly: $0) }), id > 1, let started = number(".started")
        else { return nil }
        self.id = id
        self.started = started
    }

    /// FILE.pid holds the number alone, as scripts expect. Whoever reads a pair that does not belong together finds no process of
    /// that number and start.
    func save(_ file: String) throws {
        try Files.writeAtomically(file + ".started", "\(started)\n")
        try Files.writeAtomically(file + ".pid", "\(id)\n")
    }

    var isRunning: Bool { ProcessIdentity(running: id) == self }

    /// Signals this very process: the number is looked at again after a pidfd holds it.
    func signal(_ number: CInt) {
        let descriptor = weft_pidfd_open(id)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        guard isRunning else { return }
        _ = weft_pidfd_send_signal(descriptor, number)
    }
}
