import TLS

/// What is counted of TLS, of a listener or a cluster (`ssl.`).
enum SecurityStat: Int, StatBlock {
    case handshakes, resumptions, withoutCertificate, errors, missingCertificates, untrusted, otherNames, otherPins

    var leaf: String {
        switch self {
        case .handshakes: "ssl.handshake"
        case .resumptions: "ssl.session_reused"
        case .withoutCertificate: "ssl.no_certificate"
        case .errors: "ssl.connection_error"
        case .missingCertificates: "ssl.fail_verify_no_cert"
        case .untrusted: "ssl.fail_verify_error"
        case .otherNames: "ssl.fail_verify_san"
        case .otherPins: "ssl.fail_verify_cert_hash"
        }
    }

    /// nil for what is no failure of TLS, such as a peer that leaves.
    init?(_ error: TLSError) {
        switch error.refusal {
        case .noCertificate: self = .missingCertificates
        case .chain: self = .untrusted
        case .name: self = .otherNames
        case .pin: self = .otherPins
        case nil:
            guard !error.transportReason.isEmpty else { return nil }
            self = .errors
        }
    }
}

extension ProxyWorker {
    /// A handshake is done.
    func count(_ id: StatBlockID<SecurityStat>, _ session: TLSSession) {
        count(id, .handshakes)
        if session.isResumed { count(id, .resumptions) }
        if !session.hasPeerCertificate { count(id, .withoutCertificate) }
    }
}
