import ClusterAPI
import ClusterClient
import JSON
import Reactor

/// Keeps the older Endpoints objects in step with pods, for clients that do not read EndpointSlices.
final class EndpointsController: Controller {
    let name = "endpoints-controller"
    private let context: ControllerContext
    private let services: Informer<KubeObject>
    private let pods: Informer<KubeObject>
    private let endpoints: Informer<KubeObject>
    private let queue: WorkQueue<ObjectKey>

    /// Addresses of one Endpoints object at most; more are left out and the object is marked.
    static let addressLimit = 1000

    init(_ context: ControllerContext) {
        self.context = context
        services = context.informers[.services]
        pods = context.informers[.pods]
        endpoints = context.informers[.endpoints]
        let queue = WorkQueue<ObjectKey>(loop: context.loop)
        self.queue = queue
        wakeOnServices(services, pods, queue)
    }

    func run() async { await reconcile(name, queue, workers: 5, log: context.log, sync) }

    private func sync(_ key: ObjectKey) async throws -> ReconcileResult {
        guard let service = services.get(key) else {
            do {
                if endpoints.get(key) != nil { try await context.client.delete(.endpoints, key) }
            } catch let error as StatusError where error.code == 404 {}
            return .done
        }
        guard let selector = service.spec["selector"]?.object, !selector.isEmpty, !service.isTerminating,
            service.spec["type"]?.string != "ExternalName"
        else { return .done }
        let existing = endpoints.get(key)
        let (subsets, isTruncated) = Self.subsets(service, selectedPods(service, pods))
        var wanted =
            existing ?? KubeObject(apiVersion: "v1", kind: "Endpoints", namespace: key.namespace, name: key.name)
        wanted.json["subsets"] = subsets.isEmpty ? nil : .array(subsets)
        var labels = service.labels
        labels["endpoints.kubernetes.io/managed-by"] = "endpoint-controller"
        if service.spec["clusterIP"]?.string == "None" { labels["service.kubernetes.io/headless"] = "" }
        wanted.labels = labels
        wanted.annotations["endpoints.kubernetes.io/over-capacity"] = isTruncated ? "truncated" : nil
        guard wanted != existing else { return .done }
        if existing == nil {
            try await context.client.create(.endpoints, wanted)
        } else {
            try await context.client.update(.endpoints, wanted)
        }
        return .done
    }

    /// One subset a set of ports, ready and not ready addresses apart. Pure.
    static func subsets(_ service: KubeObject, _ pods: [KubeObject]) -> (subsets: [JSONValue], isTruncated: Bool) {
        let family = service.spec["ipFamilies"]?[0]?.string ?? "IPv4"
        let publishes = service.spec["publishNotReadyAddresses"]?.bool ?? false
        var groups: [[JSONValue]: (ready: [JSONValue], notReady: [JSONValue])] = [:]
        var count = 0
        for pod in pods.sorted(by: { $0.name < $1.name }) where !pod.isTerminal {
            guard publishes || !pod.isTerminating,
                let address = EndpointSliceModel.address(of: pod, family: family)
            else { continue }
            count += 1
            guard count <= addressLimit else { continue }
            var entry: JSONValue = [
                "ip": .string(address),
                "targetRef": [
                    "kind": "Pod", "namespace": .string(pod.namespace), "name": .string(pod.name),
                    "uid": .string(pod.uid),
                ],
            ]
            if let node = pod.spec["nodeName"] { entry["nodeName"] = node }
            if let hostname = pod.spec["hostname"], pod.spec["subdomain"]?.string == service.name {
                entry["hostname"] = hostname
            }
            let ports = EndpointSliceModel.ports(service, pod)
            if publishes || pod.isReadyPod {
                groups[ports, default: ([], [])].ready.append(entry)
            } else {
                groups[ports, default: ([], [])].notReady.append(entry)
            }
        }
        let subsets = groups.map { ports, addresses -> JSONValue in
            var subset: JSONValue = [:]
            if !addresses.ready.isEmpty { subset["addresses"] = .array(addresses.ready) }
            if !addresses.notReady.isEmpty { subset["notReadyAddresses"] = .array(addresses.notReady) }
            if !ports.isEmpty { subset["ports"] = .array(ports) }
            return subset
        }
        return (subsets.sorted { $0.encodedString() < $1.encodedString() }, count > addressLimit)
    }
}
