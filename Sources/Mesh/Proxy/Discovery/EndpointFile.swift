import Bytes
import Reactor
import XDS

/// A file of endpoints (`eds_config.path_config_source`), for all clusters that it is for. On the directory's loop.
final class EndpointFile {
    private let file: ConfigFile
    private var watch: DirectoryWatch?
    private let subscriptions = EndpointSubscriptions()
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

    /// As `EndpointSubscriptions.add`.
    func subscribe(_ name: String, _ cluster: LiveCluster, _ assign: @escaping EndpointSubscriptions.Assign) {
        subscriptions.add(name, cluster, assign)
    }

    func unsubscribe(_ name: String, _ cluster: LiveCluster) { _ = subscriptions.remove(name, cluster) }

    private var resources = ResourceSet()
    private(set) var counters = SubscriptionCounters()

    /// What cannot be read leaves what was before.
    private func read() {
        counters.attempts += 1
        let response: ResourceResponse
        do {
            let text = ConfigText(name: file.path, text: try Files.readText(file.path))
            response = try ResourceResponse(.clusterLoadAssignment, file: text)
        } catch {
            counters.failures += 1
            return problems.report("\(error)")
        }
        for refusal in response.rejected { problems.report("\(refusal)") }
        let update = resources.replace(.clusterLoadAssignment, with: response.resources)
        let refused = subscriptions.apply(update)
        if !refused.isEmpty { problems.report(update.kind.rejection(of: refused)) }
        guard refused.isEmpty, response.rejected.isEmpty else { return counters.rejections += 1 }
        counters.succeeded(response.version, reloads: !update.isEmpty, at: .now())
    }
}
