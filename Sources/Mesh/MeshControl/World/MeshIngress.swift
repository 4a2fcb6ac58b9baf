import ClusterAPI
import ClusterClient
import JSON

/// What the mesh keeps of an Ingress: routes of its hosts, and the certificates for them.
struct MeshIngress: APIDecodable, Hashable {
    let key: ObjectKey
    /// `spec.ingressClassName`, or what took its place before there were classes.
    let className: String
    let routes: [MeshRoute]
    let certificates: [Certificate]
    let status: JSONValue
    let resourceVersion: String

    struct Certificate: Hashable {
        /// "" is any.
        var host: String
        var secret: String
    }

    init(_ object: KubeObject) {
        key = object.key
        let named = object.spec.text("ingressClassName")
        className = named.isEmpty ? object.annotation("kubernetes.io/ingress.class") ?? "" : named
        routes = Self.routes(object)
        certificates = object.spec.list("tls").flatMap { entry -> [Certificate] in
            let hosts = entry.list("hosts").compactMap(\.string)
            return (hosts.isEmpty ? [""] : hosts).map { Certificate(host: $0, secret: entry.text("secretName")) }
        }
        status = object.status
        resourceVersion = object.resourceVersion
    }

    /// All but the status, which is ours to write.
    func says(_ other: Self) -> Bool {
        className == other.className && certificates == other.certificates && routes.count == other.routes.count
            && zip(routes, other.routes).allSatisfy { $0.says($1) }
    }

    // MARK: As routes

    /// One a host. What no path of a host matches is for the default backend, as for a route of any host.
    private static func routes(_ object: KubeObject) -> [MeshRoute] {
        var hosts: [(host: String, rules: [JSONValue])] = []
        func add(_ host: String, _ rule: JSONValue) {
            if let index = hosts.firstIndex(where: { $0.host == host }) {
                hosts[index].rules.append(rule)
            } else {
                hosts.append((host, [rule]))
            }
        }
        for rule in object.spec.list("rules") {
            for path in rule.list("http", "paths") {
                add(rule.text("host"), Self.rule(path, rule.text("host")))
            }
            // A rule without paths sends all of its host to the default backend.
            if rule.list("http", "paths").isEmpty, let backend = object.spec["defaultBackend"] {
                add(rule.text("host"), Self.rule(["path": "/", "backend": backend], rule.text("host")))
            }
        }
        if let backend = object.spec["defaultBackend"] { add("", Self.rule(["path": "/", "backend": backend], "")) }
        return hosts.map { MeshRoute(ingress: object, host: $0.host, rules: $0.rules) }
    }

    private static func rule(_ path: JSONValue, _ host: String) -> JSONValue {
        let text = path.text("path")
        var match: JSONValue = [
            "path": [
                // What is left to the implementation is a prefix here.
                "type": path.text("pathType") == "Exact" ? "Exact" : "PathPrefix",
                "value": .string(text.isEmpty ? "/" : text),
            ]
        ]
        if host.hasPrefix("*.") {
            // A wildcard of an Ingress is one label, one of Envoy's any number.
            let rest = host.dropFirst(2).split(separator: ".").joined(separator: "\\.")
            match["headers"] = [
                [
                    "name": ":authority", "type": "RegularExpression",
                    "value": .string("[^.]+\\.\(rest)(:[0-9]+)?"),
                ]
            ]
        }
        let service = path[path: "backend", "service"] ?? .null
        var backend: JSONValue = ["name": .string(service.text("name")), "weight": 1]
        if let number = service[path: "port", "number"], number != .null {
            backend["port"] = number
        } else {
            backend["portName"] = .string(service.text("port", "name"))
        }
        if let resource = path[path: "backend", "resource"] {
            backend = [
                "group": resource["apiGroup"] ?? "", "kind": resource["kind"] ?? "", "name": resource["name"] ?? "",
            ]
        }
        return ["matches": [match], "backendRefs": [backend]]
    }
}

/// An IngressClass.
struct MeshIngressClass: APIDecodable, Hashable {
    let controller: String
    let isDefault: Bool

    init(_ object: KubeObject) {
        controller = object.spec.text("controller")
        isDefault = object.annotation("ingressclass.kubernetes.io/is-default-class") == "true"
    }

    /// Ours are those that name this.
    static let controller = "weft.dev/ingress"
    /// The one that is there from the start.
    static let name = "weft"

    /// The Gateway that all Ingresses of ours are let in by.
    static let gateway = ObjectKey(namespace: "kube-system", name: "weft-ingress")

    var isOurs: Bool { controller == Self.controller }
}

extension MeshRoute {
    /// What an Ingress says of a host.
    fileprivate init(ingress object: KubeObject, host: String, rules: [JSONValue]) {
        // No object has a slash in its name, so this is no other's.
        route = RouteKey(
            kind: .ingress,
            key: ObjectKey(namespace: object.namespace, name: host.isEmpty ? object.name : "\(object.name)/\(host)"))
        created = object.creationTimestamp ?? ""
        generation = object.generation
        hostnames = host.isEmpty ? [] : [host]
        parents = [
            Parent(kind: .gateway, key: MeshIngressClass.gateway, port: nil, section: "", reference: .null)
        ]
        self.rules = rules
        (fault, statuses, resourceVersion) = (nil, [], "")
    }
}

extension MeshWorld {
    func isOurs(_ ingress: MeshIngress) -> Bool {
        ingress.className.isEmpty
            ? ingressClasses.values.contains { $0.isOurs && $0.isDefault }
            : ingressClasses[ingress.className]?.isOurs ?? false
    }

    /// Of all Ingresses of ours: for each host that has a certificate, HTTPS. The oldest Ingress decides which.
    func ingressListeners() -> [MeshListener] {
        var seen: Set<String> = []
        return ingresses.values.filter(isOurs).sorted {
            ($0.routes.first?.created ?? "", $0.key) < ($1.routes.first?.created ?? "", $1.key)
        }.flatMap { ingress in
            ingress.certificates.filter { seen.insert($0.host).inserted }.map { certificate in
                MeshListener(
                    name: certificate.host.isEmpty ? "https" : "https-\(certificate.host)", port: 443, scheme: "HTTPS",
                    hostname: certificate.host.lowercased(), certificates: [["name": .string(certificate.secret)]],
                    of: .set(ingress.key))
            }
        }
    }
}
