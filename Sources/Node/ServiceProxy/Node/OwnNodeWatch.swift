import Bytes
import ClusterAPI
import ClusterClient
import Synchronization
import Telemetry

/// Follows the Node object of one node. Any thread.
final class OwnNodeWatch: Sendable {
    private struct State {
        var node: OwnNode?
        /// It was there and is gone.
        var isDeleted = false
        /// Its first state is known, or nobody waits for it any more.
        var isKnown = false
    }

    private let informer: Informer<OwnNode>
    private let state = Mutex(State())
    private let changes: AsyncStream<Void>
    private let sink: AsyncStream<Void>.Continuation

    init(_ client: KubeClient, name: String, log: Log) {
        (changes, sink) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        informer = Informer(client, .nodes, selection: Selection(fields: "metadata.name=\(name)"), log: log)
        informer.onEvent { [weak self] event in
            guard let self else { return }
            state.withLock { state in
                switch event {
                case .added(let key, let node), .updated(let key, _, let node):
                    // A server may know no field selectors.
                    if key.name == name { (state.node, state.isDeleted) = (node, false) }
                case .deleted(let key, _):
                    if key.name == name { (state.node, state.isDeleted) = (nil, true) }
                case .synced: state.isKnown = true
                }
            }
            sink.yield()
        }
    }

    var node: OwnNode? { state.withLock { $0.node } }

    /// False when the object says so, and when it was deleted.
    var isEligible: Bool { state.withLock { $0.node?.isEligible ?? !$0.isDeleted } }

    func run() async { await informer.run() }

    /// From now on what is known counts as all that will be.
    func stopWaiting() -> Bool {
        let wasKnown = state.withLock { state in
            defer { state.isKnown = true }
            return state.isKnown
        }
        if !wasKnown { sink.yield() }
        return !wasKnown
    }

    /// The first answer that is not nil, of a question that is asked now and after each change; nil when cancelled.
    /// One caller at a time.
    func first<Answer: Sendable>(_ question: @Sendable (OwnNode?) async -> Answer?) async -> Answer? {
        if state.withLock({ $0.isKnown }), let answer = await question(node) { return answer }
        for await _ in changes where state.withLock({ $0.isKnown }) {
            if let answer = await question(node) { return answer }
        }
        return nil
    }
}
