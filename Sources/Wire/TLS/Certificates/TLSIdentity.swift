import COpenSSL

/// A private key with the certificates that vouch for it, leaf first: what a side of a connection shows.
public struct TLSIdentity: Sendable {
    public let chain: [Certificate]
    public let key: PrivateKey

    /// - Throws: if the chain is empty or its leaf belongs to another key.
    public init(chain: [Certificate], key: PrivateKey) throws(TLSError) {
        guard let leaf = chain.first else { throw TLSError(.configuration, "an identity needs a certificate") }
        guard leaf.matches(key) else {
            throw TLSError(.configuration, "the private key does not belong to certificate \"\(leaf.subject)\"")
        }
        self.chain = chain
        self.key = key
    }

    /// Reads both from PEM text; the chain may carry intermediates after the leaf.
    public init(certificatePEM: String, keyPEM: String, password: String? = nil) throws(TLSError) {
        try self.init(chain: Certificate.chain(pem: certificatePEM), key: PrivateKey(pem: keyPEM, password: password))
    }

    /// Reads both from a PKCS#12 file, which also holds the intermediates.
    public init(pkcs12: [UInt8], password: String = "") throws(TLSError) {
        let parsed = pkcs12.withUnsafeBufferPointer { bytes -> OpaquePointer? in
            var cursor = bytes.baseAddress
            return d2i_PKCS12(nil, &cursor, bytes.count)
        }
        guard let parsed else { throw .fromQueue(.configuration, "not a PKCS#12 file") }
        defer { PKCS12_free(parsed) }
        var key: OpaquePointer?
        var leaf: OpaquePointer?
        var others: OpaquePointer?
        guard PKCS12_parse(parsed, password, &key, &leaf, &others) == 1 else {
            throw .fromQueue(.configuration, "cannot open the PKCS#12 file")
        }
        let handles = (key.map(KeyHandle.init(owning:)), leaf.map(CertificateHandle.init(owning:)))
        var rest: [Certificate] = []
        if let others {
            for index in 0..<weft_stack_count_x509(others) {
                guard let raw = weft_stack_x509(others, index), X509_up_ref(raw) == 1 else { continue }
                rest.append(Certificate(handle: CertificateHandle(owning: raw)))
            }
            weft_stack_free_all_x509(others)
        }
        guard let keyHandle = handles.0, let leafHandle = handles.1 else {
            throw TLSError(.configuration, "the PKCS#12 file holds no key with its certificate")
        }
        try self.init(chain: [Certificate(handle: leafHandle)] + rest, key: PrivateKey(handle: keyHandle))
    }

    public var leaf: Certificate { chain[0] }
}
