import Glibc
import Reactor

/// Waits until a program of a cluster runs again, which the supervisor sees to.
struct Restart {
    private let name: String
    private let directory: String

    /// The supervisor's longest pause, and some.
    private static let patience: Duration = .seconds(15)

    init(_ name: String, _ directory: String) {
        self.name = name
        self.directory = directory
    }

    func run() throws {
        guard let record = try ClusterRecord.load(directory) else {
            throw Refusal("nothing is up in \(directory)", hint: "weft up --dir \(directory)")
        }
        let names = Programs.all(record).map(\.name)
        guard names.contains(name) else {
            throw Refusal("the cluster has no program \"\(name)\"", hint: "it has \(names.joined(separator: ", "))")
        }
        guard Supervisor.identity(record)?.isRunning == true else {
            throw Refusal(
                "the cluster's supervisor does not run, so nothing starts programs again",
                hint: "weft down --dir \(directory), and up again")
        }
        let deadline = MonotonicTime.now().adding(Self.patience)
        while MonotonicTime.now() < deadline {
            if let process = Supervisor.identity(record, name), process.isRunning {
                print("\(name) runs (process \(process.id))")
                return
            }
            usleep(10_000)
        }
        throw Refusal("\(name) does not start", hint: "see \(record.logDirectory)/\(name).log")
    }
}
