import Bytes
import COpenSSL

/// What a new certificate shall say.
public struct CertificateTemplate: Sendable {
    public enum Purpose: Hashable, Sendable {
        case server, client, peer
        /// May sign other certificates, and authorities below it. Nothing limits how many levels.
        case authority
        /// May sign other certificates, but no further authorities.
        case lastAuthority
    }

    public var subject: DistinguishedName
    public var names: AlternativeNames
    public var purpose: Purpose
    public var notBefore: Timestamp
    public var notAfter: Timestamp

    /// `lifetime` is in seconds. Validity starts five minutes early, since clocks in a cluster differ.
    public init(
        subject: DistinguishedName, names: AlternativeNames = AlternativeNames(), purpose: Purpose,
        lifetime: Int64 = CertificateTemplate.year, now: Timestamp = .now()
    ) {
        self.subject = subject
        self.names = names
        self.purpose = purpose
        self.notBefore = Timestamp(seconds: now.seconds - 300, nanoseconds: 0)
        self.notAfter = Timestamp(seconds: now.seconds + lifetime, nanoseconds: 0)
    }

    /// 365 days, in seconds: the default lifetime of what an authority issues.
    public static let year: Int64 = 365 * 86400
}

/// A certificate with the key that signs others. Cheap to copy, safe to share.
public struct CertificateAuthority: Sendable {
    public let certificate: Certificate
    public let key: PrivateKey
    /// What leads from the certificate to its root, nearest first, without the root; empty for a root. Identities that are issued here
    /// show it, and the certificate, to peers that know the root only.
    public let intermediates: [Certificate]

    /// An existing authority, for instance read back from disk.
    ///
    /// - Throws: if the key is not the certificate's, or the certificate may not sign others.
    public init(
        certificate: Certificate, key: PrivateKey, intermediates: [Certificate] = []
    ) throws(TLSError) {
        guard certificate.matches(key) else {
            throw TLSError(.configuration, "the key does not belong to authority \"\(certificate.subject)\"")
        }
        guard certificate.isAuthority else {
            throw TLSError(.configuration, "certificate \"\(certificate.subject)\" may not sign others (no CA:TRUE)")
        }
        self.certificate = certificate
        self.key = key
        self.intermediates = intermediates
    }

    /// What is shown above a certificate that is issued here, so that a peer finds its way to a root.
    public var chain: [Certificate] { certificate.isSelfSigned ? [] : [certificate] + intermediates }

    /// Makes a self-signed authority, valid ten years unless told otherwise.
    public static func create(
        commonName: String, organizations: [String] = [], lifetime: Int64 = 10 * CertificateTemplate.year,
        algorithm: PrivateKey.Algorithm = .p256, now: Timestamp = .now()
    ) throws(TLSError) -> CertificateAuthority {
        let key = try PrivateKey.generate(algorithm)
        let template = CertificateTemplate(
            subject: DistinguishedName(commonName: commonName, organizations: organizations), purpose: .authority,
            lifetime: lifetime, now: now)
        let certificate = try sign(template, for: key.publicKey, issuer: nil, with: key)
        return try CertificateAuthority(certificate: certificate, key: key)
    }

    /// A certificate for `publicKey` that says what the template says.
    public func issue(_ template: CertificateTemplate, for publicKey: PublicKey) throws(TLSError) -> Certificate {
        try Self.sign(template, for: publicKey, issuer: certificate, with: key)
    }

    /// A fresh P-256 key and its certificate.
    public func issue(_ template: CertificateTemplate) throws(TLSError) -> TLSIdentity {
        let key = try PrivateKey.generate(.p256)
        return try TLSIdentity(chain: [issue(template, for: key.publicKey)] + chain, key: key)
    }

    /// An authority below this one, with a key of its own. It ends with this one at the latest.
    public func issueAuthority(
        commonName: String, organizations: [String] = [], lifetime: Int64, now: Timestamp = .now()
    ) throws(TLSError) -> CertificateAuthority {
        var template = CertificateTemplate(
            subject: DistinguishedName(commonName: commonName, organizations: organizations), purpose: .lastAuthority,
            lifetime: lifetime, now: now)
        template.notAfter = min(template.notAfter, certificate.notAfter)
        let key = try PrivateKey.generate(.p256)
        return try CertificateAuthority(
            certificate: issue(template, for: key.publicKey), key: key, intermediates: chain)
    }

    private static func sign(
        _ template: CertificateTemplate, for publicKey: PublicKey, issuer: Certificate?, with key: PrivateKey
    ) throws(TLSError) -> Certificate {
        guard let raw = X509_new() else { throw .fromQueue(.library, "cannot make a certificate") }
        let made = CertificateHandle(owning: raw)
        guard let subject = X509_get_subject_name(raw) else { throw .fromQueue(.library, "cannot make a certificate") }
        try template.subject.write(into: subject)
        let issuerName = issuer.map { X509_get_subject_name($0.handle.raw) } ?? subject
        guard X509_set_version(raw, 2) == 1, setSerial(raw),
            ASN1_TIME_set(X509_getm_notBefore(raw), time_t(template.notBefore.seconds)) != nil,
            ASN1_TIME_set(X509_getm_notAfter(raw), time_t(template.notAfter.seconds)) != nil,
            X509_set_issuer_name(raw, issuerName) == 1, X509_set_pubkey(raw, publicKey.handle.raw) == 1
        else { throw .fromQueue(.library, "cannot make certificate \"\(template.subject)\"") }

        for (kind, value) in try extensions(of: template) {
            try add(kind, value, to: raw, issuer: issuer?.handle.raw ?? raw)
        }
        guard X509_sign(raw, key.handle.raw, EVP_sha256()) > 0 else {
            throw .fromQueue(.library, "cannot sign certificate \"\(template.subject)\"")
        }
        return Certificate(handle: made)
    }

    private static func extensions(of template: CertificateTemplate) throws(TLSError) -> [(CInt, String)] {
        var list: [(CInt, String)] = [(NID_subject_key_identifier, "hash")]
        switch template.purpose {
        case .authority, .lastAuthority:
            let isLast = template.purpose == .lastAuthority
            if isLast { list.append((NID_authority_key_identifier, "keyid")) }
            list.append((NID_basic_constraints, isLast ? "critical,CA:TRUE,pathlen:0" : "critical,CA:TRUE"))
            list.append((NID_key_usage, "critical,digitalSignature,keyEncipherment,keyCertSign,cRLSign"))
        case .server, .client, .peer:
            list.append((NID_authority_key_identifier, "keyid"))
            list.append((NID_basic_constraints, "critical,CA:FALSE"))
            list.append((NID_key_usage, "critical,digitalSignature,keyEncipherment"))
            let uses: [CertificateTemplate.Purpose: String] = [
                .server: "serverAuth", .client: "clientAuth", .peer: "serverAuth,clientAuth",
            ]
            list.append((NID_ext_key_usage, uses[template.purpose] ?? "serverAuth"))
        }
        if !template.names.isEmpty {
            // RFC 5280 §4.2.1.6: the names say all where the subject says nothing.
            let mark = template.subject.isEmpty ? "critical," : ""
            list.append((NID_subject_alt_name, mark + (try template.names.configuration())))
        }
        return list
    }

    private static func add(_ kind: CInt, _ value: String, to raw: OpaquePointer, issuer: OpaquePointer)
        throws(TLSError)
    {
        var context = X509V3_CTX()
        X509V3_set_ctx(&context, issuer, raw, nil, nil, 0)
        guard let made = X509V3_EXT_conf_nid(nil, &context, kind, value) else {
            throw .fromQueue(.configuration, "certificate extension \(String(cString: OBJ_nid2sn(kind)))=\(value)")
        }
        defer { X509_EXTENSION_free(made) }
        guard X509_add_ext(raw, made, -1) == 1 else { throw .fromQueue(.library, "cannot add an extension") }
    }

    /// 127 random bits: unique without a register, and positive in DER.
    private static func setSerial(_ raw: OpaquePointer) -> Bool {
        var bytes = SecureRandom.bytes(16)
        bytes[0] = bytes[0] & 0x7f | 0x40
        guard let number = BN_bin2bn(bytes, 16, nil) else { return false }
        defer { BN_free(number) }
        return BN_to_ASN1_INTEGER(number, X509_get_serialNumber(raw)) != nil
    }
}
