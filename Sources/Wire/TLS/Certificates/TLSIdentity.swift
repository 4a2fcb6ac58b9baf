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
    public init(certificatePEM: String, keyPEM: String) throws(TLSError) {
        try self.init(chain: Certificate.chain(pem: certificatePEM), key: PrivateKey(pem: keyPEM))
    }

    public var leaf: Certificate { chain[0] }
}
