import ClusterAPI
import ClusterClient
import JSON
import Reactor

/// A cluster's API server, while a question is put to it.
struct ClusterSession: Sendable {
    let transport: HTTPTransport
    /// Of names without one.
    let namespace: String
    let loop: EventLoop

    var client: KubeClient { KubeClient(transport) }

    /// Objects of a kind that a server may not know: none then.
    func listIfServed(_ resource: GroupVersionResource, namespace: String? = nil) async throws -> [KubeObject] {
        do {
            return try await client.list(resource, namespace: namespace).items
        } catch let error as StatusError where error.code == 404 {
            return []
        }
    }

    /// Objects that say more where the asker may see them.
    func listIfAllowed(_ resource: GroupVersionResource, namespace: String? = nil) async throws -> [KubeObject] {
        do { return try await listIfServed(resource, namespace: namespace) } catch let error as StatusError
            where error.code == 403
        { return [] }
    }
}

extension GroupVersionResource {
    private static let gateway = "gateway.networking.k8s.io"
    static let httpRoutes = Self(group: gateway, resource: "httproutes")
    static let grpcRoutes = Self(group: gateway, resource: "grpcroutes")
    static let gateways = Self(group: gateway, resource: "gateways")
    static let peerAuthentications = Self(group: "security.istio.io", resource: "peerauthentications")
    static let requestAuthentications = Self(group: "security.istio.io", resource: "requestauthentications")
    static let authorizationPolicies = Self(group: "security.istio.io", resource: "authorizationpolicies")
}

extension JSONValue {
    /// Text at a path; empty where there is none.
    func text(_ path: String...) -> String { at(path)?.string ?? "" }

    /// Elements at a path; none where there is no list.
    func list(_ path: String...) -> [JSONValue] { at(path)?.array ?? [] }

    func at(_ path: [String]) -> JSONValue? {
        var value: JSONValue? = self
        for key in path { value = value?[key] }
        return value
    }
}
