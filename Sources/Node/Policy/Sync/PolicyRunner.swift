public import ClusterClient
public import Reactor
public import Telemetry

import ClusterAPI

/// The policies in their surroundings: follows policies, namespaces and pods of an API server, and keeps the table.
public struct PolicyRunner: Sendable {
    private let keeper: PolicyKeeper
    private let client: KubeClient
    private let loop: EventLoop
    private let log: Log

    /// How often the whole table is compared.
    static let auditPeriod: Duration = .seconds(3600)

    /// - Parameter loop: the keeper's.
    public init(_ keeper: PolicyKeeper, client: KubeClient, on loop: EventLoop, log: Log = .shared) {
        self.keeper = keeper
        self.client = client
        self.loop = loop
        self.log = log
    }

    /// Runs until cancelled. The table stays as it is then.
    public func run() async {
        let (keeper, loop) = (keeper, loop)
        let policies = Informer<NetworkPolicySpec>(client, .networkPolicies, log: log)
        policies.onEvent { event in
            loop.submit {
                switch event {
                case .added(_, let policy), .updated(_, _, let policy): keeper.change { $0.set(policy) }
                case .deleted(let key, _): keeper.change { $0.removePolicy(key) }
                case .synced: keeper.synced(.policies)
                }
            }
        }
        let namespaces = Informer<NamespaceLabels>(client, .namespaces, log: log)
        namespaces.onEvent { event in
            loop.submit {
                switch event {
                case .added(let key, let namespace), .updated(let key, _, let namespace):
                    keeper.change { $0.setNamespace(key.name, labels: namespace.labels) }
                case .deleted(let key, _): keeper.change { $0.setNamespace(key.name, labels: nil) }
                case .synced: keeper.synced(.namespaces)
                }
            }
        }
        let pods = Informer<PolicyPodEntry>(client, .pods, log: log)
        pods.onEvent { event in
            // Most changes of pods are of no interest here.
            if case .updated(_, let old, let new) = event, old.pod == new.pod { return }
            loop.submit {
                switch event {
                case .added(let key, let entry), .updated(let key, _, let entry):
                    keeper.change { policy in
                        if let pod = entry.pod { policy.set(pod) } else { policy.removePod(key) }
                    }
                case .deleted(let key, _): keeper.change { $0.removePod(key) }
                case .synced: keeper.synced(.pods)
                }
            }
        }
        await withTaskGroup(of: Void.self) { tasks in
            tasks.addTask { await policies.run() }
            tasks.addTask { await namespaces.run() }
            tasks.addTask { await pods.run() }
            tasks.addTask {
                while (try? await loop.sleep(for: Self.auditPeriod)) != nil { loop.submit { keeper.audit() } }
            }
            await tasks.waitForAll()
        }
        try? await loop.perform { keeper.close() }
    }
}

extension NetworkPolicySpec: APIDecodable {}

/// A namespace as the informer keeps it.
struct NamespaceLabels: APIDecodable {
    let labels: [String: String]

    init(_ object: KubeObject) { labels = object.labels }
}

/// A pod as the informer keeps it; nil inside for those that no policy is about.
struct PolicyPodEntry: APIDecodable {
    let pod: PolicyPod?

    init(_ object: KubeObject) { pod = PolicyPod(object) }
}
