public import Bytes
public import ClusterAPI
import JSON

/// What policies need of a pod: who it is, and by which addresses packets are its.
public struct PolicyPod: Hashable, Sendable {
    /// A port of a container that has a name.
    public struct NamedPort: Hashable, Sendable, Comparable {
        public var name: String
        public var transport: Transport
        public var port: Port

        public init(_ name: String, _ transport: Transport, _ port: Port) {
            self.name = name
            self.transport = transport
            self.port = port
        }

        public static func < (a: Self, b: Self) -> Bool {
            (a.name, a.transport.rawValue, a.port) < (b.name, b.transport.rawValue, b.port)
        }
    }

    public var key: ObjectKey
    public var labels: [String: String]
    /// Sorted.
    public var ports: [NamedPort]
    /// "" while it has none.
    public var node: String
    public var addresses: [IPAddress]

    public init(
        _ key: ObjectKey, labels: [String: String] = [:], ports: [NamedPort] = [], node: String = "",
        addresses: [IPAddress] = []
    ) {
        self.key = key
        self.labels = labels
        self.ports = ports.sorted()
        self.node = node
        self.addresses = addresses
    }
}

extension PolicyPod {
    /// nil for what no policy is about: pods on their node's network, whose address is the node's, and pods that are over, whose
    /// address may be another's.
    public init?(_ object: KubeObject) {
        let (spec, status) = (object.spec, object.status)
        guard spec["hostNetwork"]?.bool != true, !["Succeeded", "Failed"].contains(status["phase"]?.string ?? "") else {
            return nil
        }
        var texts = (status["podIPs"]?.array ?? []).compactMap { $0["ip"]?.string }
        if texts.isEmpty, let one = status["podIP"]?.string { texts = [one] }
        self.init(
            object.key, labels: object.labels, ports: Self.containerPorts(object).filter { !$0.name.isEmpty },
            node: spec["nodeName"]?.string ?? "", addresses: texts.compactMap { IPAddress($0) })
    }

    /// Ports that containers tell of; those without a name have "".
    static func containerPorts(_ object: KubeObject) -> [NamedPort] {
        // Init containers that go on (sidecars) serve, too; the others are gone before anybody asks.
        let spec = object.spec
        let sidecars = (spec["initContainers"]?.array ?? []).filter { $0["restartPolicy"]?.string == "Always" }
        let ports = ((spec["containers"]?.array ?? []) + sidecars).flatMap { $0["ports"]?.array ?? [] }
        return ports.compactMap(NamedPort.init(json:))
    }
}

extension PolicyPod.NamedPort {
    fileprivate init?(json: JSONValue) {
        guard let port = json["containerPort"]?.int.flatMap({ UInt16(exactly: $0) }),
            let transport = Transport(json["protocol"]?.string ?? "TCP")
        else { return nil }
        self.init(json["name"]?.string ?? "", transport, Port(port))
    }
}
