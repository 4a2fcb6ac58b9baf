import COpenSSL

/// The parts of a subject that Kubernetes reads: the common name is the user, the organisations are the groups.
public struct DistinguishedName: Hashable, Sendable, CustomStringConvertible {
    public var commonName: String
    public var organizations: [String]

    public init(commonName: String, organizations: [String] = []) {
        self.commonName = commonName
        self.organizations = organizations
    }

    public var isEmpty: Bool { commonName.isEmpty && organizations.allSatisfy(\.isEmpty) }

    public var description: String {
        (organizations.map { "O=" + $0 } + (commonName.isEmpty ? [] : ["CN=" + commonName])).joined(separator: ", ")
    }

    init(reading name: OpaquePointer?) {
        self.init(commonName: "")
        guard let name else { return }
        for index in 0..<X509_NAME_entry_count(name) {
            guard let entry = X509_NAME_get_entry(name, index),
                let value = utf8(X509_NAME_ENTRY_get_data(entry))
            else { continue }
            switch OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)) {
            case NID_commonName: commonName = value
            case NID_organizationName: organizations.append(value)
            default: continue
            }
        }
    }

    /// Writes the parts into an empty `X509_NAME`.
    func write(into name: OpaquePointer) throws(TLSError) {
        for (nid, values) in [(NID_organizationName, organizations), (NID_commonName, [commonName])] {
            for value in values where !value.isEmpty {
                let bytes = [UInt8](value.utf8)
                guard
                    X509_NAME_add_entry_by_NID(name, nid, MBSTRING_FLAG | 0x0, bytes, try int32(bytes.count), -1, 0)
                        == 1
                else { throw .fromQueue(.configuration, "\"\(value)\" cannot stand in a certificate's subject") }
            }
        }
    }

    /// Text of any of ASN.1's string types; nil if it is not text or holds a NUL, which hides what follows from C.
    private func utf8(_ string: UnsafePointer<ASN1_STRING>?) -> String? {
        var bytes: UnsafeMutablePointer<UInt8>?
        let count = ASN1_STRING_to_UTF8(&bytes, string)
        guard count >= 0, let bytes else { return nil }
        defer { CRYPTO_free(bytes, #file, #line) }
        let buffer = UnsafeBufferPointer(start: bytes, count: Int(count))
        return buffer.contains(0) ? nil : String(validating: buffer, as: UTF8.self)
    }
}
