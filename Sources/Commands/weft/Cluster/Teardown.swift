import Glibc
import Reactor

/// Takes a cluster away, whatever state it is in. Every step is one that may have been done already.
struct Teardown {
    private let record: ClusterRecord
    private let progress: Progress

    init(_ record: ClusterRecord, _ progress: Progress) {
        self.record = record
        self.progress = progress
    }

    /// Throws what could not be taken away, after everything else was; the record stays then, for another try.
    func run() throws {
        var failures: [String] = []
        try record.markGoing()
        // The supervisor first, or it would start again what is killed.
        if let supervisor = Supervisor.identity(record) { end(supervisor) }
        let group = ControlGroup(record.controlGroup)
        progress.waiting("ending the processes")
        if !group.kill() { failures.append("processes \(group.members().sorted()) survive SIGKILL") }
        group.remove()
        progress.done("no process is left")

        if !MountTable.clear(record.directory) { failures.append("something stays mounted below \(record.directory)") }
        failures += try Underlay(record).remove()
        progress.done("interfaces, namespaces and mounts are gone")

        guard failures.isEmpty else {
            throw Refusal(failures.joined(separator: "\n"), hint: "weft down --dir \(record.directory) tries again")
        }
        // The record last: while it is there, there may be something to take away.
        let last = ClusterRecord.goingFile(record.directory)
        for name in try Files.list(record.directory) where "\(record.directory)/\(name)" != last {
            try Files.removeTree("\(record.directory)/\(name)")
        }
        try record.forget()
        // A supervisor that was only just starting may have made its group after it was looked for; it ends by itself.
        group.remove()
    }

    private func end(_ process: ProcessIdentity) {
        process.signal(SIGKILL)
        for _ in 0..<2000 where process.isRunning { usleep(1000) }
    }
}
