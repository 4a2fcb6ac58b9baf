import Bytes
import COpenSSL
import Glibc

/// An X.509 certificate. Immutable and shared freely between threads.
public struct Certificate: Sendable, Hashable {
    let handle: CertificateHandle

    /// Reads the first certificate in PEM text.
    public init(pem: String) throws(TLSError) {
        let certificate = withMemoryBIO(reading: pem) { PEM_read_bio_X509($0, nil, refusePassphrase, nil) }
        guard let certificate else { throw .fromQueue(.configuration, "no certificate in the PEM text") }
        handle = CertificateHandle(owning: certificate)
    }

    /// Reads one certificate in DER; trailing bytes are refused.
    public init(der: [UInt8]) throws(TLSError) {
        let certificate = der.withUnsafeBufferPointer { bytes -> OpaquePointer? in
            var cursor = bytes.baseAddress
            guard let result = d2i_X509(nil, &cursor, bytes.count) else { return nil }
            guard cursor == bytes.baseAddress.map({ $0 + bytes.count }) else {
                X509_free(result)
                return nil
            }
            return result
        }
        guard let certificate else { throw .fromQueue(.configuration, "not one DER certificate") }
        handle = CertificateHandle(owning: certificate)
    }

    /// Every certificate in PEM text, in order: a chain with the leaf first, or a bundle of authorities.
    public static func chain(pem: String) throws(TLSError) -> [Certificate] {
        var found: [Certificate] = []
        _ = withMemoryBIO(reading: pem) { bio -> Bool? in
            while let certificate = PEM_read_bio_X509(bio, nil, refusePassphrase, nil) {
                found.append(Certificate(handle: CertificateHandle(owning: certificate)))
            }
            return true
        }
        // The end of the text is reported as "no start line"; anything else is a block that cannot be read.
        let last = ERR_peek_last_error()
        let endOfText = ERR_GET_REASON(last) == PEM_R_NO_START_LINE || last == 0
        guard endOfText else {
            throw .fromQueue(.configuration, "certificate \(found.count + 1) in the PEM text cannot be read")
        }
        ERR_clear_error()
        guard !found.isEmpty else { throw TLSError(.configuration, "no certificate in the PEM text") }
        return found
    }

    /// Certificates in DER, one directly after the other; none is no error.
    public static func sequence(der: [UInt8]) throws(TLSError) -> [Certificate] {
        var found: [Certificate] = []
        let isWhole = der.withUnsafeBufferPointer { bytes -> Bool in
            guard let start = bytes.baseAddress else { return true }
            var cursor: UnsafePointer<UInt8>? = start
            while let at = cursor, case let rest = bytes.count - (at - start), rest > 0 {
                guard let certificate = d2i_X509(nil, &cursor, rest) else { return false }
                found.append(Certificate(handle: CertificateHandle(owning: certificate)))
            }
            return true
        }
        guard isWhole else { throw .fromQueue(.configuration, "certificate \(found.count + 1) in DER cannot be read") }
        return found
    }

    init(handle: CertificateHandle) { self.handle = handle }

    public var pem: String { collectMemoryBIO { PEM_write_bio_X509($0, handle.raw) } }
    public var der: [UInt8] { derBytes { i2d_X509(handle.raw, $0) } }
    public var subject: DistinguishedName { DistinguishedName(reading: X509_get_subject_name(handle.raw)) }
    public var issuer: DistinguishedName { DistinguishedName(reading: X509_get_issuer_name(handle.raw)) }
    public var alternativeNames: AlternativeNames { AlternativeNames(reading: handle.raw) }
    public var notBefore: Timestamp { Timestamp(asn1: X509_get0_notBefore(handle.raw)) }
    public var notAfter: Timestamp { Timestamp(asn1: X509_get0_notAfter(handle.raw)) }
    public var isAuthority: Bool { X509_check_ca(handle.raw) == 1 }
    /// It names itself as its issuer and its own key signed it.
    public var isSelfSigned: Bool { X509_self_signed(handle.raw, 1) == 1 }
    public var publicKey: PublicKey {
        // A parsed certificate may still hold a key of an unknown kind; an empty key equals nothing and verifies nothing.
        PublicKey(handle: KeyHandle(owning: X509_get_pubkey(handle.raw) ?? EVP_PKEY_new()))
    }

    /// The serial number as lower-case hexadecimal, as `openssl x509 -serial` prints it apart from case.
    public var serial: String {
        guard let number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(handle.raw), nil) else { return "" }
        defer { BN_free(number) }
        guard let text = BN_bn2hex(number) else { return "" }
        defer { CRYPTO_free(text, #file, #line) }
        return String(cString: text).lowercased()
    }

    /// SHA-256 of the whole certificate.
    public var fingerprint: [UInt8] { Digest.sha256(der) }

    /// Whether `key` is the private half of this certificate's key.
    public func matches(_ key: PrivateKey) -> Bool {
        defer { ERR_clear_error() }
        return X509_check_private_key(handle.raw, key.handle.raw) == 1
    }

    /// Whether this certificate's signature was made with `authority`'s key. Looks at nothing else.
    public func isSigned(by authority: Certificate) -> Bool {
        defer { ERR_clear_error() }
        return X509_verify(handle.raw, authority.publicKey.handle.raw) == 1
    }

    public static func == (a: Certificate, b: Certificate) -> Bool { X509_cmp(a.handle.raw, b.handle.raw) == 0 }
    public func hash(into hasher: inout Hasher) { hasher.combine(der) }
}

/// Owns one `X509`. Never changed after it is made; OpenSSL guards its caches and counts references atomically.
final class CertificateHandle: @unchecked Sendable {
    let raw: OpaquePointer
    init(owning raw: OpaquePointer) { self.raw = raw }
    deinit { X509_free(raw) }
}

extension Timestamp {
    /// A certificate's time; one that cannot be read counts as 1970, so that it is expired rather than eternal.
    init(asn1 time: UnsafePointer<ASN1_TIME>?) {
        var parts = tm()
        self =
            ASN1_TIME_to_tm(time, &parts) == 1
            ? Timestamp(seconds: Int64(timegm(&parts)), nanoseconds: 0) : Timestamp(seconds: 0, nanoseconds: 0)
    }
}
