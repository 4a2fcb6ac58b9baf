public import ClusterAPI
public import JSON

/// One request to a Kubernetes API server, before it is bytes: the same value goes over HTTP and to a server in process.
public struct APIRequest: Sendable {
    public enum Verb: Sendable, Equatable {
        case get, list, create, update, delete, deleteCollection
        case patch(PatchType)
    }

    /// The patch formats of the API; raw values are their media types.
    public enum PatchType: String, Sendable {
        case json = "application/json-patch+json"
        case merge = "application/merge-patch+json"
        case strategic = "application/strategic-merge-patch+json"
        case apply = "application/apply-patch+yaml"
    }

    public var verb: Verb
    public var resource: GroupVersionResource
    /// nil for cluster-scoped resources and for requests across all namespaces.
    public var namespace: String?
    public var name: String?
    public var subresource: String?
    public var body: JSONValue?
    /// Query parameters as the API names them (`labelSelector`, `limit`, …), unescaped.
    public var parameters: [(name: String, value: String)]

    public init(
        _ verb: Verb, _ resource: GroupVersionResource, namespace: String? = nil, name: String? = nil,
        subresource: String? = nil, body: JSONValue? = nil, parameters: [(name: String, value: String)] = []
    ) {
        self.verb = verb
        self.resource = resource
        self.namespace = namespace.flatMap { $0.isEmpty ? nil : $0 }
        self.name = name
        self.subresource = subresource
        self.body = body
        self.parameters = parameters
    }

    /// The URL path, without query: `/apis/apps/v1/namespaces/shop/deployments/cart/scale`.
    public var path: String {
        var path = resource.group.isEmpty ? "/api/\(resource.version)" : "/apis/\(resource.group)/\(resource.version)"
        if let namespace { path += "/namespaces/\(percentEncoded(namespace))" }
        path += "/\(resource.resource)"
        if let name { path += "/\(percentEncoded(name))" }
        if let subresource { path += "/\(subresource)" }
        return path
    }

    /// Path and query as they stand on a request line.
    public var target: String {
        guard !parameters.isEmpty else { return path }
        return path + "?"
            + parameters.map { "\(percentEncoded($0.name))=\(percentEncoded($0.value))" }.joined(separator: "&")
    }
}

/// RFC 3986 percent-encoding of everything but unreserved characters.
func percentEncoded(_ text: String) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var out: [UInt8] = []
    out.reserveCapacity(text.utf8.count)
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"):
            out.append(byte)
        default: out += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }
    return String(decoding: out, as: UTF8.self)
}
