import Reactor
import XDS

/// A file of endpoints (`eds_config.path_config_source`), for all clusters that it is for. On the directory's loop.
final class EndpointFile {
    private let file: ConfigFile
    private var subscribers: [String: [(LiveCluster, (EndpointAssignment) -> Void)]] = [:]
    private var watch: DirectoryWatch?
    private var held: [String: EndpointAssignment] = [:]
    private let problems: ConfigProblems

    init(_ file: ConfigFile, on loop: EventLoop, _ problems: ConfigProblems) {
        self.file = file
        self.problems = problems
        do {
            watch = try DirectoryWatch(file.directory, on: loop) { [unowned self] name in
                if file.isMeant(name) { read() }
            }
        } catch { problems.report("\(file.path): \(error)") }
        read()
    }

    func close() { watch?.close() }

    /// `assign` is called now, when the name is there already, and whenever it changes.
    func subscribe(_ name: String, _ cluster: LiveCluster, _ assign: @escaping (EndpointAssignment) -> Void) {
        subscribers[name, default: []].append((cluster, assign))
        if let assignment = held[name] { assign(assignment) }
    }

    func unsubscribe(_ cluster: LiveCluster) {
        for name in subscribers.keys { subscribers[name]?.removeAll { $0.0 === cluster } }
    }

    private var resources = ResourceSet()

    /// What cannot be read leaves what was before.
    private func read() {
        let response: ResourceResponse
        do {
            let text = ConfigText(name: file.path, text: try Files.readText(file.path))
            response = try ResourceResponse(.clusterLoadAssignment, file: text)
        } catch { return problems.report("\(error)") }
        for refusal in response.rejected { problems.report("\(refusal)") }
        let update = resources.replace(.clusterLoadAssignment, with: response.resources)
        for resource in update.added + update.updated {
            do {
                let node = try resource.node()
                let assignment = try EndpointAssignment(node)
                try node.finish()
                held[resource.name] = assignment
                for (_, assign) in subscribers[resource.name] ?? [] { assign(assignment) }
            } catch { problems.report("\(error)") }
        }
    }
}
