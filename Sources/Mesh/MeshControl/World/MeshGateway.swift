import ClusterAPI
import ClusterClient
import JSON

/// Where traffic is let in: a port, what is spoken there, for which host, and whose routes may use it.
struct MeshListener: Hashable {
    enum Namespaces: Hashable {
        case same, all, none
        case selector(LabelSelector)

        init(_ allowed: JSONValue, otherwise: Self) {
            self =
                switch allowed.text("namespaces", "from") {
                case "All": .all
                case "None": .none
                case "Same": .same
                case "Selector":
                    LabelSelector(allowed[path: "namespaces", "selector"]).map(Self.selector) ?? .none
                default: otherwise
                }
        }
    }

    /// The Gateway or ListenerSet that it stands in.
    let owner: ListenerOwner
    let name: String
    let port: Int
    /// As it is written: HTTP, HTTPS, TLS, TCP, or what is not known here.
    let scheme: String
    /// "" is any.
    let hostname: String
    /// TLS that is not ended here.
    let isPassthrough: Bool
    let certificates: [JSONValue]
    let namespaces: Namespaces
    /// Nil is what the protocol takes.
    let kinds: [JSONValue]?
    private let isOfIngress: Bool

    init(_ json: JSONValue, of owner: ListenerOwner) {
        self.owner = owner
        name = json.text("name")
        port = Int(json.number("port"))
        scheme = json.text("protocol")
        hostname = json.text("hostname").lowercased()
        isPassthrough = json.text("tls", "mode") == "Passthrough"
        certificates = json.list("tls", "certificateRefs")
        let allowed = json["allowedRoutes"] ?? .null
        namespaces = Namespaces(allowed, otherwise: .same)
        kinds = allowed.list("kinds").isEmpty ? nil : allowed.list("kinds")
        isOfIngress = false
    }

    /// Ingresses are let in here, and nothing else.
    var isForIngress: Bool { owner == .gateway(MeshIngressClass.gateway) || isOfIngress }

    /// One that nobody wrote, for an Ingress.
    init(
        name: String, port: Int, scheme: String, hostname: String, certificates: [JSONValue], of owner: ListenerOwner
    ) {
        self.owner = owner
        (self.name, self.port, self.scheme, self.hostname) = (name, port, scheme, hostname)
        self.certificates = certificates
        isPassthrough = false
        namespaces = .none
        kinds = nil
        isOfIngress = true
    }
}

enum ListenerOwner: Hashable {
    case gateway(ObjectKey)
    case set(ObjectKey)

    var key: ObjectKey {
        switch self {
        case .gateway(let key), .set(let key): key
        }
    }

    /// The kind, as grants name it.
    var kind: String {
        switch self {
        case .gateway: "Gateway"
        case .set: "ListenerSet"
        }
    }
}

/// What the mesh keeps of a Gateway.
struct MeshGateway: APIDecodable, Hashable {
    let key: ObjectKey
    let uid: String
    let generation: Int64
    let created: String
    let className: String
    let listeners: [MeshListener]
    /// `spec.infrastructure`: labels and annotations of what is made for it, and whether parameters are referred to.
    let infrastructure: JSONValue
    let addresses: [JSONValue]
    /// Whose ListenerSets may add listeners.
    let allowedSets: MeshListener.Namespaces
    /// `spec.tls.frontend` and `spec.tls.backend`.
    let frontend: JSONValue
    let backend: JSONValue
    let status: JSONValue
    let resourceVersion: String

    init(_ object: KubeObject) {
        let key = object.key
        self.key = key
        uid = object.uid
        generation = object.generation
        created = object.creationTimestamp ?? ""
        className = object.spec.text("gatewayClassName")
        listeners = object.spec.list("listeners").map { MeshListener($0, of: .gateway(key)) }
        infrastructure = object.spec["infrastructure"] ?? .null
        addresses = object.spec.list("addresses")
        allowedSets = MeshListener.Namespaces(object.spec["allowedListeners"] ?? .null, otherwise: .none)
        frontend = object.spec[path: "tls", "frontend"] ?? .null
        backend = object.spec[path: "tls", "backend"] ?? .null
        status = object.status
        resourceVersion = object.resourceVersion
    }

    /// Whether both say the same: all but the status, which is ours to write.
    func says(_ other: MeshGateway) -> Bool {
        uid == other.uid && generation == other.generation && className == other.className
            && listeners == other.listeners && infrastructure == other.infrastructure && addresses == other.addresses
            && frontend == other.frontend && backend == other.backend && allowedSets == other.allowedSets
    }

    /// What clients of a port have to show.
    func validation(of port: Int) -> JSONValue? {
        let perPort = frontend.list("perPort").first { $0.number("port") == port }?["tls"]
        return (perPort ?? frontend["default"])?["validation"]
    }

    /// At some port clients are let in that do not prove who they are, where others have to.
    var acceptsAnyClient: Bool {
        let validations =
            frontend.list("perPort").map { $0[path: "tls", "validation"] } + [frontend[path: "default", "validation"]]
        return validations.contains { $0?.text("mode") == "AllowInsecureFallback" }
    }

    /// Of the Deployment, the Service and the ServiceAccount that are made for it.
    var workload: ObjectKey {
        // A Service's name has 63 characters at most, a Gateway's 253.
        let name = "\(key.name)-weft"
        guard name.utf8.count > 63 else { return ObjectKey(namespace: key.namespace, name: name) }
        let head = key.name.prefix(49).filter { $0 != "." }
        let hash = String(
            key.name.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x0100_0000_01b3 }
                & 0xffff_ffff, radix: 16)
        return ObjectKey(namespace: key.namespace, name: "\(head)-\(hash)-weft")
    }
}

/// What the mesh keeps of a GatewayClass.
struct MeshGatewayClass: APIDecodable, Hashable {
    let name: String
    let generation: Int64
    let controller: String
    let hasParameters: Bool
    let status: JSONValue
    let resourceVersion: String

    init(_ object: KubeObject) {
        name = object.name
        generation = object.generation
        controller = object.spec.text("controllerName")
        hasParameters = object.spec["parametersRef"] != nil
        status = object.status
        resourceVersion = object.resourceVersion
    }

    /// Ours are those that name this.
    static let controller = "weft.dev/gateway"

    var isOurs: Bool { controller == Self.controller }
}
