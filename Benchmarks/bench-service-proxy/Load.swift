import Bytes
import ClusterAPI
import JSON

/// One size of cluster, as its API server tells it: every Service has as many endpoints, in one slice.
struct Load: Sendable {
    var services: Int
    var endpoints: Int

    /// Services that every cluster of a benchmark has besides, for connecting to.
    static let special = [1, 100, 1000]
    /// Of these nobody knows in the beginning: a burst of changes makes them.
    static let burst = 1000
    static let node = "node-1"
    static let servicePort: UInt16 = 80
    static let endpointPort: UInt16 = 8080
    private static let slicePart = 100

    init(services: Int, endpoints: Int) {
        self.services = services
        self.endpoints = endpoints
    }

    /// `1000x10`.
    init?(_ text: String) {
        let parts = text.split(separator: "x").compactMap { Int($0) }
        guard parts.count == 2, (1...250_000).contains(parts[0]), (2...15).contains(parts[1]) else { return nil }
        self.init(services: parts[0], endpoints: parts[1])
    }

    var name: String { "\(services)x\(endpoints)" }

    /// 10.96.0.0/11 has room for all.
    func address(ofService number: Int) -> IPAddress { IPAddress(v4: 10 << 24 | UInt32(96 << 16 + number)) }
    func address(ofEndpoint number: Int) -> IPAddress { IPAddress(v4: 10 << 24 | UInt32(128 << 16 + number)) }

    /// The number of a Service with so many endpoints, beyond the ordinary ones.
    func special(_ endpoints: Int) -> Int { 300_000 + endpoints }
    /// The number of one that comes later.
    func later(_ index: Int) -> Int { 310_000 + index }

    static func key(_ number: Int) -> ObjectKey {
        ObjectKey(namespace: "team-\(number % 50)", name: "service-\(number)")
    }

    func service(_ number: Int) -> KubeObject { Self.parsed(serviceText(number, revision: 1)) }

    func slice(_ number: Int, endpoints: Int) -> KubeObject {
        Self.parsed(sliceText(number, part: 0, endpoints: 0..<endpoints, revision: 1))
    }

    private static func parsed(_ text: String) -> KubeObject {
        guard let json = try? JSONValue.parse(text) else { preconditionFailure("not JSON: \(text)") }
        return KubeObject(json: json)
    }

    /// All slices of a Service that has so many endpoints.
    func sliceTexts(_ number: Int, endpoints: Int, revision: Int) -> [String] {
        stride(from: 0, to: endpoints, by: Self.slicePart).enumerated().map { part, first in
            sliceText(
                number, part: part, endpoints: first..<min(first + Self.slicePart, endpoints), revision: revision)
        }
    }

    // MARK: As an API server writes them

    func serviceText(_ number: Int, revision: Int) -> String {
        let key = Self.key(number)
        return """
            {"kind":"Service","apiVersion":"v1","metadata":{"name":"\(key.name)","namespace":"\(key.namespace)",\
            "uid":"\(Self.uid(number, 1))","resourceVersion":"\(revision)","generation":1,\
            "creationTimestamp":"2026-01-01T00:00:00Z","labels":{"app":"\(key.name)","team":"\(key.namespace)"},\
            "managedFields":[\(Self.managed("kubectl-client-side-apply", "v1", "f:spec"))]},\
            "spec":{"ports":[{"name":"http","protocol":"TCP","port":\(Self.servicePort),"targetPort":\(Self.endpointPort)}],\
            "selector":{"app":"\(key.name)"},"clusterIP":"\(address(ofService: number))",\
            "clusterIPs":["\(address(ofService: number))"],"type":"ClusterIP","sessionAffinity":"None",\
            "ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","internalTrafficPolicy":"Cluster"},\
            "status":{"loadBalancer":{}}}
            """
    }

    private func sliceText(_ number: Int, part: Int, endpoints: Range<Int>, revision: Int) -> String {
        let key = Self.key(number)
        let list = endpoints.map { index in
            """
            {"addresses":["\(address(ofEndpoint: number * 16 + index))"],\
            "conditions":{"ready":true,"serving":true,"terminating":false},\
            "targetRef":{"kind":"Pod","namespace":"\(key.namespace)","name":"\(key.name)-7d4b9c6f5-\(index)",\
            "uid":"\(Self.uid(number, index + 10))"},"nodeName":"node-\(2 + (number + index) % 100)","zone":"z\(index % 3)"}
            """
        }
        return """
            {"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"name":"\(key.name)-x7k2\(part)",\
            "generateName":"\(key.name)-","namespace":"\(key.namespace)","uid":"\(Self.uid(number, 2))",\
            "resourceVersion":"\(revision)","generation":1,"creationTimestamp":"2026-01-01T00:00:00Z",\
            "labels":{"app":"\(key.name)","endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io",\
            "kubernetes.io/service-name":"\(key.name)"},"ownerReferences":[{"apiVersion":"v1","kind":"Service",\
            "name":"\(key.name)","uid":"\(Self.uid(number, 1))","controller":true,"blockOwnerDeletion":true}],\
            "managedFields":[\(Self.managed("kube-controller-manager", "discovery.k8s.io/v1", "f:endpoints"))]},\
            "addressType":"IPv4","endpoints":[\(list.joined(separator: ","))],\
            "ports":[{"name":"http","protocol":"TCP","port":\(Self.endpointPort)}]}
            """
    }

    private static func uid(_ number: Int, _ what: Int) -> String {
        let digits = String(number + 1_000_000_000_000)
        return "5f0e9a4c-\(1000 + what)-4b7e-9c3a-\(digits.suffix(12))"
    }

    private static func managed(_ who: String, _ version: String, _ fields: String) -> String {
        """
        {"manager":"\(who)","operation":"Update","apiVersion":"\(version)","time":"2026-01-01T00:00:00Z",\
        "fieldsType":"FieldsV1","fieldsV1":{"\(fields)":{},"f:metadata":{"f:labels":{".":{},"f:app":{}}}}}
        """
    }
}
