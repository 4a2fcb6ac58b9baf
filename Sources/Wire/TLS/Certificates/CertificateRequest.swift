import COpenSSL

/// A PKCS#10 request: a key and the names its owner wishes for, signed by the key.
public struct CertificateRequest: Sendable {
    public let subject: DistinguishedName
    public let names: AlternativeNames
    public let publicKey: PublicKey

    /// Reads a request and checks that its signature was made with its own key.
    public init(pem: String) throws(TLSError) {
        guard let raw = withMemoryBIO(reading: pem, { PEM_read_bio_X509_REQ($0, nil, refusePassphrase, nil) }) else {
            throw .fromQueue(.configuration, "no certificate request in the PEM text")
        }
        defer { X509_REQ_free(raw) }
        guard let key = X509_REQ_get_pubkey(raw) else {
            throw .fromQueue(.configuration, "the certificate request holds no usable key")
        }
        let handle = KeyHandle(owning: key)
        guard X509_REQ_verify(raw, key) == 1 else {
            throw .fromQueue(.signature, "the certificate request is not signed with its own key")
        }
        subject = DistinguishedName(reading: X509_REQ_get_subject_name(raw))
        publicKey = PublicKey(handle: handle)
        var names = AlternativeNames()
        if let extensions = X509_REQ_get_extensions(raw) {
            defer { weft_stack_free_extensions(extensions) }
            if let pointer = X509V3_get_d2i(extensions, NID_subject_alt_name, nil, nil) {
                let list = OpaquePointer(pointer)
                defer { GENERAL_NAMES_free(list) }
                names.read(list)
            }
        }
        self.names = names
    }

    /// The PEM text of a request for these names, signed with `key`.
    public static func pem(
        subject: DistinguishedName, names: AlternativeNames = AlternativeNames(), key: PrivateKey
    ) throws(TLSError) -> String {
        guard let raw = X509_REQ_new() else { throw .fromQueue(.library, "cannot make a certificate request") }
        defer { X509_REQ_free(raw) }
        guard let name = X509_REQ_get_subject_name(raw) else {
            throw .fromQueue(.library, "cannot make a certificate request")
        }
        try subject.write(into: name)
        if !names.isEmpty {
            let value = try names.configuration()
            guard let list = weft_stack_new_extensions() else { throw .fromQueue(.library, "cannot make a request") }
            defer { weft_stack_free_extensions(list) }
            guard let made = X509V3_EXT_conf_nid(nil, nil, NID_subject_alt_name, value) else {
                throw .fromQueue(.configuration, "subject alternative names \(value)")
            }
            guard weft_stack_push_extension(list, made) > 0, X509_REQ_add_extensions(raw, list) == 1 else {
                throw .fromQueue(.library, "cannot make a certificate request")
            }
        }
        guard X509_REQ_set_version(raw, 0) == 1, X509_REQ_set_pubkey(raw, key.handle.raw) == 1,
            X509_REQ_sign(raw, key.handle.raw, EVP_sha256()) > 0
        else { throw .fromQueue(.library, "cannot sign a certificate request") }
        return collectMemoryBIO { PEM_write_bio_X509_REQ($0, raw) }
    }
}
