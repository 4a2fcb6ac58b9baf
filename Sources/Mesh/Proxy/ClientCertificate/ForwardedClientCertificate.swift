// ClientCertificate: what upstreams are told of the certificate that a client showed. Pure text from facts.

import TLS

/// The policy for `x-forwarded-client-cert` (`forward_client_cert_details` and `set_current_client_cert_details`).
public struct ForwardedClientCertificate: Hashable, Sendable {
    public enum Mode: Hashable, Sendable {
        case sanitize, forwardOnly, appendForward, sanitizeSet, alwaysForwardOnly
    }

    /// What is said of the client beside the hash of its certificate.
    public struct Details: OptionSet, Hashable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        public static let certificate = Details(rawValue: 1)
        public static let chain = Details(rawValue: 1 << 1)
        public static let subject = Details(rawValue: 1 << 2)
        public static let uri = Details(rawValue: 1 << 3)
        public static let dns = Details(rawValue: 1 << 4)
        public static let issuer = Details(rawValue: 1 << 5)
    }

    /// What becomes of a request's header.
    public enum Action: Hashable, Sendable {
        /// Goes on as it came, if it came.
        case keep
        case remove
        /// Becomes the connection's element alone.
        case set
        /// The connection's element comes behind those that are there, after a comma.
        case append
    }

    public var mode: Mode
    public var details: Details

    public init(_ mode: Mode = .sanitize, details: Details = []) {
        self.mode = mode
        self.details = details
    }

    /// - Parameter hasClientCertificate: the client showed a certificate on this connection.
    public func action(hasClientCertificate: Bool) -> Action {
        switch mode {
        case .alwaysForwardOnly: .keep
        case .sanitize: .remove
        case _ where !hasClientCertificate: .remove
        case .forwardOnly: .keep
        case .appendForward: .append
        case .sanitizeSet: .set
        }
    }

    /// This connection's element, the same for all its requests: worth keeping. Empty without a client certificate.
    ///
    /// - Parameters:
    ///   - local: what this side showed; its URIs become "By".
    ///   - chain: what the client showed, leaf first.
    public func element(local: Certificate?, chain: [Certificate]) -> String {
        guard let peer = chain.first else { return "" }
        let names = peer.alternativeNames
        var parts = local?.alternativeNames.uris.map { "By=\($0)" } ?? []
        parts.append("Hash=\(peer.fingerprintText)")
        if details.contains(.certificate) { parts.append("Cert=\"\(peer.urlEncodedPEM)\"") }
        if details.contains(.chain) { parts.append("Chain=\"\(chain.map(\.urlEncodedPEM).joined())\"") }
        // Subject and URI stand there even if there is none, as in Envoy.
        if details.contains(.subject) { parts.append("Subject=\"\(peer.subjectText)\"") }
        if details.contains(.uri) { parts += names.uris.isEmpty ? ["URI="] : names.uris.map { "URI=\($0)" } }
        if details.contains(.dns) { parts += names.dns.map { "DNS=\($0)" } }
        if details.contains(.issuer) { parts.append("Issuer=\"\(peer.issuerText)\"") }
        return parts.joined(separator: ";")
    }
}
