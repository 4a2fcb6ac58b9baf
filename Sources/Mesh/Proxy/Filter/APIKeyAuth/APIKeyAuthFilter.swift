import HTTP
import TLS
import XDS

/// Lets in who has a key that is known (`envoy.filters.http.api_key_auth`).
package final class APIKeyAuthFilter: Sendable {
    enum Source: Sendable {
        case header(HeaderKey)
        case query([UInt8])
        case cookie([UInt8])
    }

    /// Who the upstream is told that it is, and whether the key goes on.
    struct Forwarding: Sendable {
        var header: HeaderKey?
        var hidesKey = false
    }

    struct Settings: Sendable {
        /// Clients by key; nil where nothing is said.
        var clients: [[UInt8]: String]?
        var sources: [Source]?
        var forwarding: Forwarding?
    }

    /// What a route says instead, and whom it lets in; all when empty.
    package struct Override: Sendable {
        let settings: Settings
        let allowed: Set<String>
    }

    private let settings: Settings
    private let allowed, unauthorized, forbidden: CounterID

    func requestHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        var settings = settings
        var admitted: Set<String> = []
        if case .apiKeyAuth(let override)? = stream.settings(slot) {
            if let clients = override.settings.clients { settings.clients = clients }
            if let sources = override.settings.sources { settings.sources = sources }
            if let forwarding = override.settings.forwarding { settings.forwarding = forwarding }
            admitted = override.allowed
        }
        guard let sources = settings.sources else { return refuse(stream, "missing_key_sources") }
        guard let clients = settings.clients else { return refuse(stream, "missing_credentials") }
        guard let key = sources.lazy.compactMap({ $0.key(in: stream.request) }).first(where: { !$0.isEmpty }) else {
            return refuse(stream, "missing_api_key")
        }
        guard let client = clients[key] else { return refuse(stream, "unknown_api_key") }
        guard admitted.isEmpty || admitted.contains(client) else {
            stream.worker.count(forbidden)
            stream.reply(403, "Client is forbidden.", details: "client_not_allowed")
            return .replied
        }
        if let forwarding = settings.forwarding {
            if let header = forwarding.header { Array(client.utf8).withUnsafeBytes { stream.request.set(header, $0) } }
            if forwarding.hidesKey { for source in sources { source.remove(from: stream.request) } }
        }
        stream.worker.count(allowed)
        return .proceed
    }

    private func refuse(_ stream: HTTPStream, _ details: StaticString) -> FilterStep {
        stream.worker.count(unauthorized)
        stream.reply(401, "Client authentication failed.", details: details)
        return .replied
    }

    init(_ node: ConfigNode, _ context: FilterContext) throws(ConfigError) {
        settings = try Settings(node)
        allowed = context.counter("api_key_auth.allowed")
        unauthorized = context.counter("api_key_auth.unauthorized")
        forbidden = context.counter("api_key_auth.forbidden")
    }
}

extension APIKeyAuthFilter.Source {
    fileprivate func key(in request: HeaderBlock) -> [UInt8]? {
        switch self {
        case .header(let key):
            guard let value = request.value(key) else { return nil }
            let scheme: StaticString = "Bearer "
            return Array(value.starts(with: scheme.bytes) ? value.dropFirst(scheme.utf8CodeUnitCount) : value[...])
        case .query(let name): return QueryString.decodedValue(of: name, in: request.path)
        case .cookie(let name): return request.cookie(name).map { Array($0) }
        }
    }

    fileprivate func remove(from request: HeaderBlock) {
        switch self {
        case .header(let key): request.remove(key)
        case .query(let name):
            guard QueryString.value(of: name, in: request.path) != nil else { return }
            QueryString.path(request.path, without: name).withUnsafeBytes { request.setPath($0) }
        case .cookie(let name): request.removeCookie(name)
        }
    }
}

extension APIKeyAuthFilter.Settings {
    /// What the filter and a route say alike.
    init(_ node: ConfigNode) throws(ConfigError) {
        for credential in node.messages("credentials") {
            let key = Array(credential.string("key").utf8)
            guard (clients ?? [:])[key] == nil else { throw credential.error("key", "Duplicated credential key") }
            clients = (clients ?? [:]).merging([key: credential.string("client")]) { $1 }
        }
        for source in node.messages("key_sources") {
            let (header, query) = (source.string("header"), source.string("query"))
            let cookie = source.string("cookie")
            let found: APIKeyAuthFilter.Source
            if !header.isEmpty {
                found = .header(HeaderKey(header))
            } else if !query.isEmpty {
                found = .query(Array(query.utf8))
            } else if !cookie.isEmpty {
                found = .cookie(Array(cookie.utf8))
            } else {
                throw source.error("One of 'header'/'query'/'cookie' must be set.")
            }
            sources = (sources ?? []) + [found]
        }
        forwarding = node.message("forwarding").map { node in
            let header = node.string("header")
            return APIKeyAuthFilter.Forwarding(
                header: header.isEmpty ? nil : HeaderKey(header), hidesKey: node.bool("hide_credentials"))
        }
    }
}

extension APIKeyAuthFilter.Override {
    /// An `ApiKeyAuthPerRoute`.
    init(_ node: ConfigNode) throws(ConfigError) {
        settings = try APIKeyAuthFilter.Settings(node)
        allowed = Set(node.strings("allowed_clients"))
    }
}
