import Bytes
import JSON
import Reactor
import TLS
import XDS

// What the admin pages read of the proxy and ask of it.
extension ProxyServer {
    /// `/healthcheck/fail` and `/healthcheck/ok`: what health-check filters answer, and `/ready`.
    package func setHealthChecksFail(_ fails: Bool) async {
        guard state == .live || state == .draining else { return }
        state = fails ? .draining : .live
        for worker in workers { try? await worker.loop.perform { worker.failsHealthChecks = fails } }
    }

    var runtimePage: String { context.runtime.page.adminText }

    /// False without an admin layer.
    func modifyRuntime(_ changes: [(name: String, value: String)]) -> Bool { context.runtime.modify(changes) }

    /// What listeners are bound to, by name.
    func boundListeners() async -> [(name: String, addresses: [SocketAddress])] {
        var found: [(String, [SocketAddress])] = []
        for name in listeners.keys.sorted() {
            let bound = await addresses(of: name)
            if !bound.isEmpty { found.append((name, bound)) }
        }
        return found
    }

    /// The bootstrap as JSON; empty before there is one.
    var bootstrapJSON: JSONValue {
        (try? bootstrap?.message(resources))?.json() ?? [:]
    }

    /// The bootstrap with the node as it is told to others.
    var fullBootstrap: JSONValue {
        var bootstrap = bootstrapJSON.object ?? [:]
        bootstrap["node"] = node.withoutDefaults
        return .object(bootstrap)
    }

    /// The node as the bootstrap says it and the command line overrides it.
    var node: JSONValue {
        var node = bootstrapJSON["node"]?.object ?? [:]
        if !options.serviceNode.isEmpty { node["id"] = .string(options.serviceNode) }
        if !options.serviceCluster.isEmpty { node["cluster"] = .string(options.serviceCluster) }
        if !options.serviceZone.isEmpty {
            var locality = node["locality"]?.object ?? [:]
            locality["zone"] = .string(options.serviceZone)
            node["locality"] = .object(locality)
        }
        if node["id"] == nil { node["id"] = "" }
        if node["cluster"] == nil { node["cluster"] = "" }
        node["user_agent_name"] = "weft-proxy"
        node["user_agent_build_version"] = ServerInfoPage.buildVersion
        node["extensions"] = ServerInfoPage.extensions
        return .object(node)
    }
}

extension JSONValue {
    /// As protobuf's JSON has messages: fields at their default are not there.
    fileprivate var withoutDefaults: JSONValue {
        switch self {
        case .array(let elements): return .array(elements.map(\.withoutDefaults))
        case .object(let object):
            var kept = JSONObject()
            for (key, value) in object {
                switch value {
                case .string(let text) where text.isEmpty: continue
                case .bool(false), .int(0): continue
                default: kept[key] = value.withoutDefaults
                }
            }
            return .object(kept)
        default: return self
        }
    }
}
