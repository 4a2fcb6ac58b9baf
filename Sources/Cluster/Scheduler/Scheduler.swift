// Which node a pod goes to, and nothing else.

import Bytes
import ClusterAPI
public import ClusterClient
import JSON
public import Reactor
import Synchronization
public import Telemetry

/// Gives pods that have no node one, as kube-scheduler would, and binds them.
///
/// Pods wait in order of priority and age. A pod that found no node waits for something to change that could help, or
/// for its back-off. Placement counts a pod as placed before the API server knows (it is assumed), so that the next one
/// sees the room it takes; a failed binding takes that back.
public final class Scheduler: Sendable {
    /// Pods that name another scheduler are left alone.
    public let name: String
    private let client: KubeClient
    private let pods: Informer<PodDemand>
    private let nodes: Informer<NodeState>
    private let recorder: EventRecorder
    private let log: Log
    private let loop: EventLoop
    private let state = Mutex(State())
    private let queue: WorkQueue<Turn>

    /// The one key of the queue: whoever is next is decided when the turn comes.
    private struct Turn: Hashable {}

    private struct State {
        var nodes: [String: NodeState] = [:]
        /// Bound or assumed pods, by uid, with the node that they count on.
        var placed: [String: String] = [:]
        var waiting: [String: Waiting] = [:]

        mutating func place(_ pod: PodDemand, on node: String) {
            if let old = placed[pod.uid], old != node { nodes[old]?.remove(pod.uid) }
            placed[pod.uid] = node
            nodes[node]?.add(pod)
        }

        /// - Returns: whether it took up room.
        mutating func unplace(_ uid: String) -> Bool {
            guard let node = placed.removeValue(forKey: uid) else { return false }
            nodes[node]?.remove(uid)
            return true
        }

        /// Who is next: the highest priority, then the longest wait; and when the first of those who must wait may try.
        func next(_ now: MonotonicTime) -> (pod: PodDemand?, wake: MonotonicTime?) {
            var best: Waiting?
            var wake: MonotonicTime?
            for candidate in waiting.values where !candidate.isUnschedulable {
                if let time = candidate.notBefore, time > now {
                    wake = min(wake ?? time, time)
                } else if let current = best,
                    (current.pod.priority, candidate.since) >= (candidate.pod.priority, current.since)
                {
                    continue
                } else {
                    best = candidate
                }
            }
            return (best?.pod, wake)
        }
    }

    private struct Waiting {
        var pod: PodDemand
        var since: MonotonicTime
        var attempts = 0
        /// Not before this; nil is at once.
        var notBefore: MonotonicTime?
        /// Found no node; waits for a change.
        var isUnschedulable = false
    }

    /// Back-off of a pod that found no node: doubled from the first to the last.
    static let initialBackoff: Duration = .seconds(1)
    static let longestBackoff: Duration = .seconds(10)
    /// Pods without a node are tried again after this long whatever happens.
    static let flushPeriod: Duration = .seconds(60)

    public init(
        _ client: KubeClient, loop: EventLoop, name: String = "default-scheduler", log: Log = .shared
    ) {
        self.client = client
        self.name = name
        self.log = log
        self.loop = loop
        pods = Informer(client, .pods, of: PodDemand.self, log: log)
        nodes = Informer(client, .nodes, of: NodeState.self, log: log)
        recorder = EventRecorder(client, component: name, loop: loop, log: log)
        queue = WorkQueue(loop: loop)
        pods.onEvent { [weak self] in self?.podChanged($0) }
        nodes.onEvent { [weak self] in self?.nodeChanged($0) }
    }

    /// Schedules until the surrounding task is cancelled. Must run on a loop.
    public func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [pods] in await pods.run() }
            group.addTask { [nodes] in await nodes.run() }
            await nodes.waitForSync()
            await pods.waitForSync()
            group.addTask { [self] in
                await reconcile("scheduler", queue, workers: 1, log: log) { [self] _ in await scheduleAll() }
            }
            queue.add(Turn())
            while !Task.isCancelled {
                try? await EventLoop.sleep(for: Self.flushPeriod)
                retryAll()
            }
            group.cancelAll()
        }
    }

    // MARK: What changes

    private func podChanged(_ event: InformerEvent<PodDemand>) {
        switch event {
        case .added(_, let pod), .updated(_, _, let pod): noted(pod)
        case .deleted(_, let pod):
            let freed = state.withLock { state in
                state.waiting[pod.uid] = nil
                return state.unplace(pod.uid)
            }
            if freed { retryAll() }
        case .synced: break
        }
    }

    private func noted(_ pod: PodDemand) {
        if !pod.nodeName.isEmpty {
            let freed = state.withLock { state -> Bool in
                state.waiting[pod.uid] = nil
                if pod.isTerminal { return state.unplace(pod.uid) }
                state.place(pod, on: pod.nodeName)
                return false
            }
            if freed { retryAll() }
            return
        }
        guard pod.schedulerName == name, !pod.isTerminating, !pod.isTerminal, !pod.isGated else {
            state.withLock { $0.waiting[pod.uid] = nil }
            return
        }
        let isNew = state.withLock { state -> Bool in
            // Assumed: the binding is on its way.
            guard state.placed[pod.uid] == nil else { return false }
            if var waiting = state.waiting[pod.uid] {
                let hasChanged = !waiting.pod.asksForTheSame(as: pod)
                waiting.pod = pod
                if hasChanged {
                    waiting.isUnschedulable = false
                    waiting.notBefore = nil
                }
                state.waiting[pod.uid] = waiting
                return hasChanged
            }
            state.waiting[pod.uid] = Waiting(pod: pod, since: .now())
            return true
        }
        if isNew { queue.add(Turn()) }
    }

    private func nodeChanged(_ event: InformerEvent<NodeState>) {
        switch event {
        case .added(_, let node):
            state.withLock { state in
                guard state.nodes[node.name] == nil else {
                    state.nodes[node.name]?.refresh(from: node)
                    return
                }
                state.nodes[node.name] = node
                // Pods may have been seen before their node.
                for pod in pods.list() where pod.nodeName == node.name && !pod.isTerminal {
                    state.place(pod, on: node.name)
                }
            }
            retryAll()
        case .updated(_, let old, let node):
            state.withLock { $0.nodes[node.name]?.refresh(from: node) }
            if !old.offersTheSame(as: node) { retryAll() }
        case .deleted(_, let node):
            state.withLock { $0.nodes[node.name] = nil }
        case .synced: break
        }
    }

    /// Something changed that may help those who found no node.
    private func retryAll() {
        let hasAny = state.withLock { state in
            for uid in state.waiting.keys { state.waiting[uid]?.isUnschedulable = false }
            return !state.waiting.isEmpty
        }
        if hasAny { queue.add(Turn()) }
    }

    // MARK: A turn

    private func scheduleAll() async -> ReconcileResult {
        var random = SystemRandomNumberGenerator()
        while !Task.isCancelled {
            let now = MonotonicTime.now()
            let (next, wake) = state.withLock { $0.next(now) }
            guard let next else {
                guard let wake else { return .done }
                return .again(after: wake.duration(since: now))
            }
            let outcome = state.withLock { state -> Placement in
                let outcome = Placement(next, state.nodes.values, using: &random)
                if case .node(let node) = outcome {
                    state.waiting[next.uid] = nil
                    state.place(next, on: node)
                } else {
                    state.waiting[next.uid]?.isUnschedulable = true
                    let attempts = state.waiting[next.uid]?.attempts ?? 0
                    state.waiting[next.uid]?.attempts = attempts + 1
                    state.waiting[next.uid]?.notBefore = now.adding(
                        Backoff.delay(initial: Self.initialBackoff, limit: Self.longestBackoff, failures: attempts))
                }
                return outcome
            }
            switch outcome {
            // Binding goes on while the next pod is placed.
            case .node(let node): Task(executorPreference: loop) { [self] in await bind(next, to: node) }
            case .none(let message): await report(next, message)
            }
        }
        return .done
    }

    private func bind(_ pod: PodDemand, to node: String) async {
        var binding = KubeObject(apiVersion: "v1", kind: "Binding", namespace: pod.key.namespace, name: pod.key.name)
        binding.json["metadata"]?["uid"] = .string(pod.uid)
        binding.json["target"] = ["apiVersion": "v1", "kind": "Node", "name": .string(node)]
        do {
            try await client.create(.pods, binding, subresource: "binding")
            recorder.normal(pod.reference, "Scheduled", "Successfully assigned \(pod.key) to \(node)")
        } catch {
            log.warning("binding failed", ["pod": "\(pod.key)", "node": node, "error": "\(error)"])
            let isGone = (error as? StatusError)?.code == 404
            state.withLock { state in
                _ = state.unplace(pod.uid)
                guard !isGone, pods.get(pod.key)?.uid == pod.uid else { return }
                var waiting = Waiting(pod: pod, since: .now())
                waiting.notBefore = MonotonicTime.now().adding(Self.initialBackoff)
                state.waiting[pod.uid] = waiting
            }
            queue.add(Turn())
        }
    }

    private func report(_ pod: PodDemand, _ message: String) async {
        guard pod.scheduledReason != message else { return }
        recorder.warning(pod.reference, "FailedScheduling", message)
        do {
            try await client.patch(
                .pods, pod.key, .strategic,
                [
                    "metadata": ["uid": .string(pod.uid)],
                    "status": [
                        "conditions": [
                            [
                                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                                "message": .string(message), "lastTransitionTime": .string(Timestamp.now().rfc3339),
                            ]
                        ]
                    ],
                ], subresource: "status")
        } catch {
            log.debug("condition not written", ["pod": "\(pod.key)", "error": "\(error)"])
        }
    }
}

extension Scheduler {
    /// Pods that wait for a node, and how many of them found none.
    public var pending: (waiting: Int, unschedulable: Int) {
        state.withLock { ($0.waiting.count, $0.waiting.values.count(where: \.isUnschedulable)) }
    }
}

extension PodDemand {
    /// Enough of the pod to tell events about it.
    var reference: KubeObject {
        var object = KubeObject(apiVersion: "v1", kind: "Pod", namespace: key.namespace, name: key.name)
        object.json["metadata"]?["uid"] = .string(uid)
        object.resourceVersion = resourceVersion
        return object
    }

    /// Whether only what the scheduler itself writes differs.
    func asksForTheSame(as other: PodDemand) -> Bool {
        var (a, b) = (self, other)
        (a.scheduledReason, a.resourceVersion) = ("", "")
        (b.scheduledReason, b.resourceVersion) = ("", "")
        return a == b
    }
}

extension NodeState {
    func offersTheSame(as other: NodeState) -> Bool {
        labels == other.labels && taints == other.taints && isUnschedulable == other.isUnschedulable
            && allocatable == other.allocatable && podLimit == other.podLimit
    }
}
