import GRPC
import HTTP
import XDS

/// What somebody wants to know of the streams of a discovery server (`envoy.service.status.v3.ClientStatusRequest`).
struct ClientStatusRequest {
    /// Nodes of which any of these holds; all of them where there is none.
    private var matchers: [NodeMatcher] = []
    private(set) var excludesContents = false

    init(_ bytes: [UInt8]) throws(GRPCEnding) {
        var matchers: [NodeMatcher] = []
        var excludesContents = false
        try bytes.forEachField { field throws(GRPCEnding) in
            if field.number == 1, field.wire == .bytes { matchers.append(try NodeMatcher(Array(field.bytes))) }
            if field.number == 3, field.wire == .varint { excludesContents = field.scalar != 0 }
        }
        (self.matchers, self.excludesContents) = (matchers, excludesContents)
    }

    func matches(_ node: ProxyNode) -> Bool { matchers.isEmpty || matchers.contains { $0.matches(node.id) } }
}

/// A node by its id (`envoy.type.matcher.v3.NodeMatcher`).
private struct NodeMatcher {
    private enum Pattern { case any, exact, prefix, suffix, contains }

    private var pattern = Pattern.any
    private var text = ""
    private var ignoresCase = false

    init(_ bytes: [UInt8]) throws(GRPCEnding) {
        var id: [UInt8] = []
        try bytes.forEachField { field throws(GRPCEnding) in
            guard field.number == 1, field.wire == .bytes else {
                throw GRPCEnding(.invalidArgument, "node_metadatas is not supported; use node_id")
            }
            id = Array(field.bytes)
        }
        var (pattern, text, ignoresCase) = (Pattern.any, "", false)
        try id.forEachField { field throws(GRPCEnding) in
            switch field.number {
            case 1: (pattern, text) = (.exact, field.text)
            case 2: (pattern, text) = (.prefix, field.text)
            case 3: (pattern, text) = (.suffix, field.text)
            case 7: (pattern, text) = (.contains, field.text)
            case 6: ignoresCase = field.scalar != 0
            default:
                throw GRPCEnding(
                    .invalidArgument,
                    "node_id: safe_regex and custom are not supported; use exact, prefix, suffix, contains")
            }
        }
        (self.pattern, self.ignoresCase) = (pattern, ignoresCase)
        self.text = ignoresCase ? text.lowercased() : text
    }

    func matches(_ id: String) -> Bool {
        let id = ignoresCase ? id.lowercased() : id
        return switch pattern {
        case .any: true
        case .exact: id == text
        case .prefix: id.hasPrefix(text)
        case .suffix: id.hasSuffix(text)
        case .contains: id.contains(text)
        }
    }
}

/// How a client stands with one resource (`envoy.service.status.v3.ConfigStatus`).
enum ConfigStatus: UInt8 {
    /// It has accepted what there is.
    case synced = 1
    /// It asked for it, and there is none.
    case notSent = 2
    /// Something newer is on its way, or was sent and is not answered yet.
    case stale = 3
    /// It refused the last that it was sent.
    case error = 4
}

extension DiscoverySession {
    /// A `ClientConfig`: the node, and each resource that it asks for with its state.
    ///
    /// Contents of secrets are never told.
    func clientConfig(withContents: Bool) -> [UInt8] {
        var config: [UInt8] = []
        guard let node else { return config }
        config.append(field: 1, node.bytes)
        for kind in Self.order {
            guard let state = kinds[kind] else { continue }
            let table = tables[kind]
            func add(_ name: String, _ status: ConfigStatus, _ resource: ServedResource?, _ reason: String? = nil) {
                var one: [UInt8] = []
                one.append(field: 1, kind.typeURL)
                one.append(field: 2, name)
                if let resource {
                    one.append(field: 3, resource.version)
                    if withContents, kind != .secret { one.append(field: 4, resource.any) }
                }
                one += [6 << 3, status.rawValue]
                if let reason {
                    var failure: [UInt8] = []
                    failure.append(field: 3, reason)
                    one.append(field: 8, failure)
                }
                config.append(field: 3, one)
            }
            for id in asked(kind) {
                guard let resource = resource(kind, id) else {
                    add(table[id], .notSent, nil)
                    continue
                }
                if let reason = state.refused[id] {
                    add(table[id], .error, resource, reason)
                } else if state.isOnItsWay(id) || kind.isCompleteState && state.owesState {
                    add(table[id], .stale, resource)
                } else {
                    add(table[id], .synced, resource)
                }
            }
            for name in state.unknown.sorted() { add(name, .notSent, nil) }
        }
        return config
    }
}

/// A call of the service that tells of clients (`envoy.service.status.v3.ClientStatusDiscoveryService`).
final class ClientStatusCall {
    static let stream = "/envoy.service.status.v3.ClientStatusDiscoveryService/StreamClientStatus"
    static let fetch = "/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus"

    /// Bytes of a request, which names some nodes.
    static let requestLimit = 1 << 20
    /// Bytes of an answer. Beyond: RESOURCE_EXHAUSTED, and the question has to be narrower.
    static let answerLimit = 64 << 20

    let exchange: HTTPExchange
    /// One message each way.
    let isFetch: Bool
    /// Of whom may be told to who asks.
    let sees: (ProxyNode) -> Bool
    var messages = GRPCMessages(limit: requestLimit)

    init(_ exchange: HTTPExchange, isFetch: Bool, sees: @escaping (ProxyNode) -> Bool) {
        (self.exchange, self.isFetch, self.sees) = (exchange, isFetch, sees)
    }

    /// A `ClientStatusResponse`.
    static func answer(
        _ request: ClientStatusRequest, _ sessions: [DiscoverySession], sees: (ProxyNode) -> Bool
    ) throws(GRPCEnding) -> [UInt8] {
        var response: [UInt8] = []
        let asked = sessions.compactMap { session in session.node.map { (session, $0) } }
            .filter { request.matches($0.1) && sees($0.1) }
        for (session, _) in asked.sorted(by: { $0.1.id < $1.1.id }) {
            response.append(field: 1, session.clientConfig(withContents: !request.excludesContents))
            guard response.count <= answerLimit else {
                throw GRPCEnding(
                    .resourceExhausted,
                    "more than \(answerLimit) bytes: ask for fewer nodes (node_matchers), or exclude_resource_contents")
            }
        }
        return response
    }
}
