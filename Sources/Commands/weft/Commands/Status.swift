import ArgumentParser
import ClusterAPI
import ClusterClient
import Reactor

struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show a cluster's programs, nodes and pods.")

    @OptionGroup var folder: ClusterFolder

    func run() throws {
        guard let record = try ClusterRecord.load(folder.absolute) else {
            print("nothing is up in \(folder.absolute)")
            throw ExitCode(1)
        }
        let status = runOnLoops(threads: 1) { group in try await StatusReport(record).print(on: group.all[0]) }
        if status != 0 { throw ExitCode(status) }
    }
}

/// What `weft status` prints. Fails when a part of the cluster is not well, so that scripts can ask.
struct StatusReport: Sendable {
    private let record: ClusterRecord

    /// How long the API server may take before it counts as not answering.
    private static let patience: Duration = .seconds(5)

    init(_ record: ClusterRecord) { self.record = record }

    func print(on loop: EventLoop) async throws {
        var faults: [String] = []
        Swift.print("cluster in \(record.directory): \(record.subnet) on \(record.bridge)")
        for name in [Supervisor.name] + Programs.all(record).map(\.name) {
            let identity = Supervisor.identity(record, name)
            let isRunning = identity?.isRunning ?? false
            if !isRunning { faults.append("\(name) does not run") }
            Swift.print("  \(isRunning ? "✓" : "✗") \(name)\(identity.map { " (process \($0.id))" } ?? "")")
        }
        do {
            guard let access = try ClusterAccess(record, on: loop) else {
                throw Refusal("the control plane has written no kubeconfig", hint: "see \(record.logDirectory)")
            }
            faults += try await withTimeout(Self.patience, on: loop) { try await printObjects(access) }
        } catch {
            faults.append("the API server at https://\(record.endpoint) does not answer: \(error)")
        }
        guard faults.isEmpty else {
            throw Refusal(faults.joined(separator: "; "), hint: "logs are in \(record.logDirectory)")
        }
    }

    private func printObjects(_ access: ClusterAccess) async throws -> [String] {
        var faults: [String] = []
        let nodes = try await access.nodes()
        Swift.print("nodes:")
        for node in nodes {
            let state = node.isReady ? "Ready" : "NotReady: \(node.message)"
            if !node.isReady { faults.append("\(node.name) is not Ready") }
            Swift.print("  \(node.isReady ? "✓" : "✗") \(node.name)  \(node.address)  pods \(node.podCIDR)  \(state)")
        }
        let pods = try await access.client.list(.pods).items
        Swift.print("pods: \(pods.count)")
        for pod in pods {
            let phase = pod.status["phase"]?.string ?? "Unknown"
            let node = pod.spec["nodeName"]?.string ?? "no node"
            let address = pod.status["podIP"]?.string ?? "no address"
            Swift.print("  \(pod.namespace)/\(pod.name)  \(phase)  \(address)  \(node)")
        }
        return faults
    }
}
