import ArgumentParser
import Reactor

/// What `weft up` leaves running: keeps the control plane and the nodes alive. Not for people.
struct Supervise: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Keep a cluster's programs running.", shouldDisplay: false)

    @OptionGroup var folder: ClusterFolder

    func run() throws {
        guard let record = try ClusterRecord.load(folder.absolute) else {
            throw ValidationError("\(folder.absolute) holds no cluster")
        }
        let status = runOnLoops(threads: 1) { group in try await Supervisor(record, on: group.all[0]).run() }
        if status != 0 { throw ExitCode(status) }
    }
}
