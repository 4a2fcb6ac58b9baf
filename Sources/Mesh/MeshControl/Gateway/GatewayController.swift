import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Reactor
import Telemetry

/// Writes what the mesh says of routes and gateways into their statuses, and keeps for each Gateway the objects that run it.
///
/// A status is written when it differs from the one that the object has, so nothing is written twice, and a write that comes back as
/// an event leads to none.
final class GatewayController: Sendable {
    /// Asked on the loop, so that it sees one state of the cluster.
    struct Questions: Sendable {
        var status: @Sendable (StatusTarget) async -> StatusPatch?
        /// Nil where there is no Gateway of ours.
        var workload: @Sendable (ObjectKey) async -> GatewayWorkload?
        /// Whether there are Ingresses of ours, and the Gateway that is made for them.
        var ingress: @Sendable () async -> (isNeeded: Bool, isThere: Bool)
    }

    private let client: KubeClient
    private let log: Log
    private let questions: Questions
    private let statuses: WorkQueue<StatusTarget>
    private let workloads: WorkQueue<ObjectKey>
    private let owned: [Informer<KubeObject>]

    /// What is made for a Gateway has its name under this label (GEP-1762).
    static let label = "gateway.networking.k8s.io/gateway-name"

    private static let className = "weft"
    private static let manager = (name: "app.kubernetes.io/managed-by", value: "weft")
    private static let gateways = GroupVersionResource(group: RouteKind.group, resource: "gateways")
    private static let classes = GroupVersionResource(group: RouteKind.group, resource: "gatewayclasses")
    private static let ingressClasses = GroupVersionResource(group: "networking.k8s.io", resource: "ingressclasses")

    init(_ client: KubeClient, loop: EventLoop, log: Log, _ questions: Questions) {
        (self.client, self.log, self.questions) = (client, log, questions)
        statuses = WorkQueue(loop: loop)
        workloads = WorkQueue(loop: loop)
        // The account first: pods cannot be made before it is there.
        owned = [GroupVersionResource.serviceAccounts, .services, .deployments].map {
            Informer(client, $0, selection: Selection(labels: Self.label), log: log)
        }
        for informer in owned {
            informer.onEvent { [workloads] event in
                switch event {
                case .updated(_, _, let object), .deleted(_, let object):
                    if let key = Self.gateway(of: object) { workloads.add(key) }
                case .added, .synced: break
                }
            }
        }
    }

    private static func gateway(of object: KubeObject) -> ObjectKey? {
        object.label(label).map { ObjectKey(namespace: object.namespace, name: $0) }
    }

    func enqueue(_ targets: Set<StatusTarget>) {
        for target in targets {
            statuses.add(target)
            switch target {
            case .gateway(let key): workloads.add(key)
            case .ingress: workloads.add(MeshIngressClass.gateway)
            default: break
            }
        }
    }

    /// Until the surrounding task is cancelled.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            for informer in owned { group.addTask { await informer.run() } }
            group.addTask { await self.ensureClasses() }
            group.addTask {
                await reconcile("gateway-status", self.statuses, workers: 8, log: self.log) { target in
                    try await self.writeStatus(target)
                }
            }
            group.addTask {
                for informer in self.owned { await informer.waitForSync() }
                await reconcile("gateway", self.workloads, workers: 2, log: self.log) { key in
                    try await self.keep(key)
                }
            }
        }
    }

    // MARK: Classes

    /// The classes that users name; those who delete one mean it, until the next start.
    private func ensureClasses() async {
        var gatewayClass = KubeObject(
            apiVersion: "\(RouteKind.group)/v1", kind: "GatewayClass", name: Self.className)
        gatewayClass.spec = ["controllerName": .string(MeshGatewayClass.controller)]
        gatewayClass.json["metadata"]?["annotations"] = [
            "kubernetes.io/description": "Gateways that are run by weft-proxy, on the cluster's nodes."
        ]
        var ingressClass = KubeObject(
            apiVersion: "networking.k8s.io/v1", kind: "IngressClass", name: MeshIngressClass.name)
        ingressClass.spec = ["controller": .string(MeshIngressClass.controller)]
        var backoff = Backoff.reconnect
        for (resource, object) in [(Self.classes, gatewayClass), (Self.ingressClasses, ingressClass)] {
            while !Task.isCancelled {
                do {
                    try await client.create(resource, object)
                    break
                } catch let error as StatusError where error.reason == .alreadyExists {
                    break
                } catch {
                    log.warning("a class cannot be made", ["resource": "\(resource)", "error": "\(error)"])
                    try? await EventLoop.sleep(for: backoff.next())
                }
            }
        }
    }

    // MARK: Statuses

    private func writeStatus(_ target: StatusTarget) async throws -> ReconcileResult {
        guard let patch = await questions.status(target) else { return .done }
        do {
            try await client.patch(patch.resource, patch.key, .merge, patch.patch, subresource: "status")
        } catch let error as StatusError where error.code == 404 {
            return .done
        }
        return .done
    }

    // MARK: What runs a Gateway

    private func keep(_ key: ObjectKey) async throws -> ReconcileResult {
        if key == MeshIngressClass.gateway { try await keepIngressGateway() }
        // What is made for a Gateway goes with it, by its owner reference.
        guard let workload = await questions.workload(key) else { return .done }
        for (informer, object) in zip(owned, [workload.account, workload.service, workload.deployment]) {
            try await keep(object, informer)
        }
        return .done
    }

    /// It is there as long as there are Ingresses.
    private func keepIngressGateway() async throws {
        let (isNeeded, isThere) = await questions.ingress()
        guard isNeeded != isThere else { return }
        let key = MeshIngressClass.gateway
        guard isNeeded else {
            guard let present = try await client.find(Self.gateways, key),
                present.label(Self.manager.name) == Self.manager.value
            else { return }
            return try await client.delete(Self.gateways, key, uid: present.uid)
        }
        var gateway = KubeObject(
            apiVersion: "\(RouteKind.group)/v1", kind: "Gateway", namespace: key.namespace, name: key.name)
        gateway.labels = [Self.manager.name: Self.manager.value]
        gateway.annotations = ["kubernetes.io/description": "Lets in what Ingresses of class weft say."]
        gateway.spec = [
            "gatewayClassName": .string(Self.className),
            "listeners": [
                [
                    "name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": ["namespaces": ["from": "None"]],
                ]
            ],
        ]
        do {
            try await client.create(Self.gateways, gateway)
        } catch let error as StatusError where error.reason == .alreadyExists {}
    }

    private func keep(_ wanted: KubeObject, _ informer: Informer<KubeObject>) async throws {
        guard let present = informer.get(wanted.key) else {
            do {
                try await client.create(informer.resource, wanted)
            } catch let error as StatusError where error.reason == .alreadyExists {
                guard let other = try await client.find(informer.resource, wanted.key) else { return }
                guard other.controller?.uid == wanted.controller?.uid else {
                    throw StatusError.internalError(
                        "\(wanted.kind) \(wanted.key) is in the way: it is not this Gateway's")
                }
            } catch let error as StatusError where error.code == 404 || error.code == 403 {
                // The namespace is going.
            }
            return
        }
        guard present.controller?.uid == wanted.controller?.uid else {
            throw StatusError.internalError("\(wanted.kind) \(wanted.key) is in the way: it is not this Gateway's")
        }
        guard !present.isTerminating else { return }
        var wanted = wanted.json
        // Ports that nodes have given stay given.
        if let ports = wanted[path: "spec", "ports"]?.array {
            let given = present.spec.list("ports")
            wanted["spec"]?["ports"] = .array(
                ports.map { port in
                    var port = port
                    port["nodePort"] = given.first { $0["port"] == port["port"] }?["nodePort"]
                    return port
                })
        }
        guard !present.json.holds(wanted) else { return }
        try await client.patch(informer.resource, present.key, .merge, wanted)
    }
}

extension JSONValue {
    /// Whether everything that the other says is said here; there may be more.
    fileprivate func holds(_ other: JSONValue) -> Bool {
        if let members = other.object {
            return members.allSatisfy { name, value in self[name]?.holds(value) ?? false }
        }
        if let wanted = other.array {
            guard let own = array, own.count == wanted.count else { return false }
            return zip(own, wanted).allSatisfy { $0.holds($1) }
        }
        return self == other
    }
}
