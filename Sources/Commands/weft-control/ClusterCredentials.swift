import APIServer
import Bytes
import Glibc
import Reactor
import TLS

/// The keys of a cluster, in a folder of its data directory: the authority, what the API server shows, what signs tokens.
///
/// Made at the first start and kept; the serving certificate is issued anew when its names change or its time runs out.
struct ClusterCredentials: Sendable {
    let directory: String
    let authority: CertificateAuthority
    let tokenKey: PrivateKey

    /// A certificate with less left than this is issued anew, seconds.
    private static let renewal: Int64 = 30 * 86400
    /// Who may do everything.
    private static let administrators = "system:masters"

    /// Reads the folder, making what is missing.
    init(dataDirectory: String) throws {
        directory = dataDirectory + "/pki"
        try Files.makeDirectories(dataDirectory, mode: 0o700)
        try Files.makeDirectories(directory, mode: 0o700)
        if Files.exists(directory + "/ca.crt") {
            authority = try Self.readAuthority(directory)
        } else {
            authority = try CertificateAuthority.create(commonName: "weft-ca")
            try Self.write(directory + "/ca.key", authority.key.pem, isSecret: true)
            try Self.write(directory + "/ca.crt", authority.certificate.pem, isSecret: false)
        }
        if Files.exists(directory + "/sa.key") {
            tokenKey = try PrivateKey(pem: try Files.readText(directory + "/sa.key"))
        } else {
            tokenKey = try PrivateKey.generate(.p256)
            try Self.write(directory + "/sa.key", tokenKey.pem, isSecret: true)
        }
    }

    /// Reads the authority of a cluster that exists; makes nothing.
    init(existing dataDirectory: String) throws {
        directory = dataDirectory + "/pki"
        guard Files.exists(directory + "/ca.crt") else {
            throw ConfigurationError(
                "\(directory): no cluster's keys are here; start weft-control with this --data-dir first")
        }
        authority = try Self.readAuthority(directory)
        tokenKey = try PrivateKey(pem: try Files.readText(directory + "/sa.key"))
    }

    private static func readAuthority(_ directory: String) throws -> CertificateAuthority {
        try CertificateAuthority(
            certificate: try Certificate(pem: try Files.readText(directory + "/ca.crt")),
            key: try PrivateKey(pem: try Files.readText(directory + "/ca.key")))
    }

    /// What the API server shows to its clients.
    func serving(names: AlternativeNames) throws -> TLSIdentity {
        let (certificate, key) = (directory + "/apiserver.crt", directory + "/apiserver.key")
        if Files.exists(certificate), Files.exists(key),
            let known = try? TLSIdentity(
                certificatePEM: try Files.readText(certificate), keyPEM: try Files.readText(key)),
            isCurrent(known.leaf), covers(known.leaf.alternativeNames, names)
        {
            return known
        }
        let made = try authority.issue(
            CertificateTemplate(
                subject: DistinguishedName(commonName: "kube-apiserver"), names: names, purpose: .server))
        try Self.write(key, made.key.pem, isSecret: true)
        try Self.write(certificate, made.leaf.pem, isSecret: false)
        return made
    }

    /// What the API server shows to node agents.
    func nodeAgentClient() throws -> TLSIdentity {
        try issue(user: "kube-apiserver-kubelet-client", groups: [Self.administrators])
    }

    /// A client's certificate: the user is its common name, the groups its organizations.
    ///
    /// - Parameters:
    ///   - serves: it may be shown to clients, too, as node agents do on their own port.
    ///   - lifetime: Seconds.
    func issue(
        user: String, groups: [String], serves: Bool = false, lifetime: Int64 = CertificateTemplate.year
    ) throws -> TLSIdentity {
        try authority.issue(
            CertificateTemplate(
                subject: DistinguishedName(commonName: user, organizations: groups), purpose: serves ? .peer : .client,
                lifetime: lifetime))
    }

    private func isCurrent(_ certificate: Certificate) -> Bool {
        certificate.notAfter.seconds > Timestamp.now().seconds + Self.renewal
            && certificate.isSigned(by: authority.certificate)
    }

    private func covers(_ has: AlternativeNames, _ wanted: AlternativeNames) -> Bool {
        Set(has.dns).isSuperset(of: wanted.dns) && Set(has.addresses).isSuperset(of: wanted.addresses)
    }

    static func write(_ path: String, _ text: String, isSecret: Bool) throws {
        try Files.writeAtomically(path, text, mode: isSecret ? 0o600 : 0o644, sync: true)
    }

    /// The names under which clients may call the API server.
    static func servingNames(_ settings: ControlSettings, advertised: IPAddress) -> AlternativeNames {
        var names = AlternativeNames(
            dns: [
                "kubernetes", "kubernetes.default", "kubernetes.default.svc",
                "kubernetes.default.svc.\(settings.clusterDomain)", "localhost",
            ], addresses: [.loopbackV4, .loopbackV6, advertised])
        for range in settings.serviceRanges { names.addresses.append(range.first.adding(1)) }
        if settings.bindAddress != .anyV4, settings.bindAddress != .anyV6 {
            names.addresses.append(settings.bindAddress)
        }
        for name in settings.extraNames {
            if let address = IPAddress(name) { names.addresses.append(address) } else { names.dns.append(name) }
        }
        var host = [CChar](repeating: 0, count: 256)
        if gethostname(&host, host.count - 1) == 0 {
            let end = host.firstIndex(of: 0) ?? host.count
            let text = String(decoding: host[..<end].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if !text.isEmpty { names.dns.append(text) }
        }
        var seen = Set<IPAddress>()
        names.addresses.removeAll { !seen.insert($0).inserted }
        return names
    }
}
