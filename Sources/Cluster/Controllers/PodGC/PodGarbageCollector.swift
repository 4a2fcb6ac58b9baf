import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Reactor
import Synchronization

/// Deletes pods that nobody else will: on nodes that are gone, ended ones beyond a number, and ones that are being
/// deleted without ever having had a node.
final class PodGarbageCollector: Controller {
    let name = "pod-garbage-collector-controller"
    private let context: ControllerContext
    private let pods: Informer<KubeObject>
    private let nodes: Informer<KubeObject>
    /// When a node was first missed.
    private let missed = Mutex<[String: MonotonicTime]>([:])

    static let period: Duration = .seconds(20)
    /// Ended pods that are kept.
    static let terminatedLimit = 12_500
    /// A node must be missing this long before its pods go.
    static let quarantine: Duration = .seconds(40)

    init(_ context: ControllerContext) {
        self.context = context
        pods = context.informers[.pods]
        nodes = context.informers[.nodes]
    }

    func run() async {
        while !Task.isCancelled {
            try? await EventLoop.sleep(for: Self.period)
            await collect()
        }
    }

    private func collect() async {
        let all = pods.list()
        let present = Set(nodes.keys.map(\.name))
        let used = Set(all.compactMap { $0.spec["nodeName"]?.string })
        let gone = missed.withLock { missed in
            missed = missed.filter { !present.contains($0.key) && used.contains($0.key) }
            for node in used.subtracting(present) where missed[node] == nil { missed[node] = .now() }
            return Set(missed.filter { MonotonicTime.now().duration(since: $0.value) > Self.quarantine }.keys)
        }
        let doomed = podsToCollect(all, goneNodes: gone, terminatedLimit: Self.terminatedLimit)
        for pod in doomed {
            do {
                try await context.client.delete(.pods, pod.key, uid: pod.uid, gracePeriodSeconds: 0)
            } catch {
                context.log.debug("pod not collected", ["pod": "\(pod.key)", "error": "\(error)"])
            }
        }
    }
}

/// Which pods must go. Pure.
func podsToCollect(_ pods: [KubeObject], goneNodes: Set<String>, terminatedLimit: Int) -> [KubeObject] {
    let orphaned = pods.filter { pod in pod.spec["nodeName"]?.string.map(goneNodes.contains) ?? false }
    let unscheduled = pods.filter { ($0.spec["nodeName"]?.string ?? "").isEmpty && $0.isTerminating }
    let ended = pods.filter(\.isTerminal)
    let excess = ended.sorted { ($0.creationTimestamp ?? "", $0.name) < ($1.creationTimestamp ?? "", $1.name) }
        .prefix(max(0, ended.count - terminatedLimit))
    var seen: Set<String> = []
    return (orphaned + unscheduled + excess).filter { seen.insert($0.uid).inserted }
}
