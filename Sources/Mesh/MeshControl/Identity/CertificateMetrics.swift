import Telemetry

/// What is counted of certificates, under the names that Istio's authority uses.
struct CertificateMetrics: Sendable {
    let requests: Counter
    let issued: Counter
    let unauthenticated: Counter
    let malformed: Counter
    let refused: Counter
    let unsigned: Counter
    let rootExpiry: Gauge
    let chainExpiry: Gauge

    init(_ registry: MetricsRegistry) {
        requests = registry.counter("citadel_server_csr_count", "Certificate requests.")
        issued = registry.counter("citadel_server_success_cert_issuance_count", "Certificates that were issued.")
        unauthenticated = registry.counter(
            "citadel_server_authentication_failure_count", "Requests of callers who did not prove who they are.")
        malformed = registry.counter(
            "citadel_server_csr_parsing_err_count", "Requests that could not be read.")
        refused = registry.counter(
            "citadel_server_authorization_failure_count", "Requests for identities that the caller may not have.")
        unsigned = registry.counter("citadel_server_csr_sign_err_count", "Certificates that could not be signed.")
        rootExpiry = registry.gauge(
            "citadel_server_root_cert_expiry_timestamp", "When the root of the mesh's authority ends, Unix time.")
        chainExpiry = registry.gauge(
            "citadel_server_cert_chain_expiry_timestamp", "When the issuing certificate ends, Unix time.")
    }

    func count(_ code: Int) {
        switch code {
        case 16: unauthenticated.increment()
        case 7: refused.increment()
        case 3: malformed.increment()
        default: unsigned.increment()
        }
    }

    func show(_ authority: MeshAuthority) {
        rootExpiry.set(Double(authority.root.notAfter.seconds))
        chainExpiry.set(Double(authority.issuer.certificate.notAfter.seconds))
    }
}
