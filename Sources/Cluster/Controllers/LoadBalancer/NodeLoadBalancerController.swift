import ClusterAPI
import ClusterClient
import JSON
import Reactor

/// Gives Services of class `weft.dev/node` the nodes' own addresses, at which the service proxy of each node lets traffic in: a load
/// balancer for clusters that nobody else provides with one.
final class NodeLoadBalancerController: Controller {
    let name = "node-load-balancer-controller"
    private let context: ControllerContext
    private let services: Informer<KubeObject>
    private let nodes: Informer<KubeObject>
    private let slices: Informer<KubeObject>
    private let recorder: EventRecorder
    /// One key: which Service has a port depends on all of them.
    private let queue: WorkQueue<ObjectKey>

    private static let all = ObjectKey(name: "services")
    /// A condition of a Service that is there while its addresses are not what was asked for.
    private static let condition = "weft.dev/LoadBalancerUnsatisfied"

    init(_ context: ControllerContext) {
        self.context = context
        services = context.informers[.services]
        nodes = context.informers[.nodes]
        slices = context.informers[.endpointSlices]
        recorder = context.recorder(name)
        let queue = WorkQueue<ObjectKey>(loop: context.loop)
        self.queue = queue
        services.onEvent { event in
            switch event {
            case .added(_, let service), .deleted(_, let service):
                if Self.isOurs(service) { queue.add(Self.all) }
            case .updated(_, let old, let new):
                if Self.isOurs(old) || Self.isOurs(new) { queue.add(Self.all) }
            case .synced: break
            }
        }
        nodes.onEvent { event in
            switch event {
            case .updated(_, let old, let new):
                // Nodes tell of themselves every few seconds.
                if old.labels != new.labels || old.status["addresses"] != new.status["addresses"]
                    || old.condition("Ready")?["status"] != new.condition("Ready")?["status"]
                {
                    queue.add(Self.all)
                }
            case .added, .deleted: queue.add(Self.all)
            case .synced: break
            }
        }
        let services = services
        slices.onEvent { event in
            switch event {
            case .added(_, let slice), .updated(_, _, let slice), .deleted(_, let slice):
                let key = ObjectKey(
                    namespace: slice.namespace, name: slice.label("kubernetes.io/service-name") ?? "")
                guard let service = services.get(key), Self.isOurs(service),
                    service.spec.text("externalTrafficPolicy") == "Local"
                else { return }
                queue.add(Self.all)
            case .synced: break
            }
        }
    }

    private static func isOurs(_ service: KubeObject) -> Bool {
        service.spec.text("loadBalancerClass") == NodeAddressPlan.loadBalancerClass
    }

    func run() async { await reconcile(name, queue, workers: 1, log: context.log, sync) }

    private func sync(_ key: ObjectKey) async throws -> ReconcileResult {
        let all = services.list()
        let plan = NodeAddressPlan(services: all, nodes: nodes.list(), hosts: hosts)
        let changed = all.compactMap { service -> (KubeObject, JSONValue)? in
            guard let share = plan.shares[service.key], let status = status(service, share) else { return nil }
            if let problem = share.problem {
                recorder.warning(service, "LoadBalancerUnsatisfied", problem)
            }
            return (service, status)
        }
        try await concurrently(changed) { [context] service, status in
            do {
                try await context.client.patch(
                    .services, service.key, .merge,
                    ["metadata": ["resourceVersion": .string(service.resourceVersion)], "status": status],
                    subresource: "status")
            } catch let error as StatusError where error.code == 404 {}
        }
        return .done
    }

    /// Nil when it is as it should be.
    private func status(_ service: KubeObject, _ share: NodeAddressPlan.Share) -> JSONValue? {
        let ingress = share.addresses.map { address -> JSONValue in ["ip": .string(address), "ipMode": "VIP"] }
        var conditions = service.status.list("conditions")
        if let problem = share.problem {
            conditions = settingCondition(
                conditions, Self.condition, true, reason: "AddressUnavailable", message: problem, now: context.now())
        } else {
            conditions.removeAll { $0.text("type") == Self.condition }
        }
        let present = service.status.list("loadBalancer", "ingress")
        guard present != ingress || conditions != service.status.list("conditions") else { return nil }
        return ["loadBalancer": ["ingress": .array(ingress)], "conditions": .array(conditions)]
    }

    /// The nodes that have ready pods of a Service.
    private func hosts(_ service: ObjectKey) -> Set<String> {
        var hosts: Set<String> = []
        for slice in slices.indexed(SharedInformers.byService, "\(service)") {
            for endpoint in slice.json.list("endpoints") where endpoint[path: "conditions", "ready"] != .bool(false) {
                if let node = endpoint["nodeName"]?.string { hosts.insert(node) }
            }
        }
        return hosts
    }
}
