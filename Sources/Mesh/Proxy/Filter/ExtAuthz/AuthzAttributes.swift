import HTTP
import XDS

/// What of a request a service sees, whichever service it is that a route names.
struct AuthzAttributes: Sendable {
    /// Fields of the client's request; all where none is named.
    var asked = HeaderNameMatcher()
    var withheld = HeaderNameMatcher()
    var includesCertificate = false
    var includesSession = false
    /// Of what filters say of the request.
    var metadataNamespaces: [String] = []
    /// Of what the route says of itself.
    var routeNamespaces: [String] = []

    func shows(_ name: UnsafeRawBufferPointer) -> Bool {
        (asked.isEmpty || asked.matches(name)) && !withheld.matches(name)
    }
}

extension AuthzAttributes {
    /// What an `ExtAuthz` says of all services; an HTTP service may say more.
    init(_ node: ConfigNode) throws(ConfigError) {
        asked = try node.message("allowed_headers", HeaderNameMatcher.init) ?? HeaderNameMatcher()
        withheld = try node.message("disallowed_headers", HeaderNameMatcher.init) ?? HeaderNameMatcher()
        includesCertificate = node.bool("include_peer_certificate")
        includesSession = node.bool("include_tls_session")
        metadataNamespaces = node.strings("metadata_context_namespaces")
        routeNamespaces = node.strings("route_metadata_context_namespaces")
    }
}
