import Bytes
import COpenSSL

/// The names a certificate is valid for (subjectAltName).
public struct AlternativeNames: Hashable, Sendable {
    public var dns: [String]
    public var addresses: [IPAddress]
    public var uris: [String]
    public var emails: [String] = []
    /// Names of types that are not in the standard, as far as they are text. Read, never written.
    public private(set) var others: [OtherName] = []

    public struct OtherName: Hashable, Sendable {
        /// The type's object identifier in dotted form.
        public var oid: String
        public var value: String
    }

    public init(dns: [String] = [], addresses: [IPAddress] = [], uris: [String] = []) {
        self.dns = dns
        self.addresses = addresses
        self.uris = uris
    }

    public var isEmpty: Bool { dns.isEmpty && addresses.isEmpty && uris.isEmpty && emails.isEmpty && others.isEmpty }

    init(reading certificate: OpaquePointer) {
        self.init()
        guard let pointer = X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil) else { return }
        let names = OpaquePointer(pointer)
        defer { GENERAL_NAMES_free(names) }
        read(names)
    }

    mutating func read(_ names: OpaquePointer) {
        for index in 0..<weft_stack_count_names(names) {
            guard let name = weft_stack_name(names, index) else { continue }
            let type = weft_general_name_type(name)
            if type == GEN_OTHERNAME {
                readOther(name)
                continue
            }
            guard type == GEN_DNS || type == GEN_URI || type == GEN_IPADD || type == GEN_EMAIL,
                let string = weft_general_name_string(name), let start = ASN1_STRING_get0_data(string)
            else { continue }
            let bytes = UnsafeRawBufferPointer(start: start, count: Int(ASN1_STRING_length(string)))
            if type == GEN_IPADD {
                if let address = IPAddress(bytes: bytes) { addresses.append(address) }
            } else if !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) {
                switch type {
                case GEN_DNS: dns.append(text)
                case GEN_URI: uris.append(text)
                default: emails.append(text)
                }
            }
        }
    }

    private mutating func readOther(_ name: UnsafePointer<GENERAL_NAME>) {
        var type: OpaquePointer?
        guard let string = weft_general_name_other(name, &type), let start = ASN1_STRING_get0_data(string) else {
            return
        }
        let bytes = UnsafeRawBufferPointer(start: start, count: Int(ASN1_STRING_length(string)))
        // An object identifier in dotted form is rarely longer than 40 characters; one that does not fit is not matched.
        let oid = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { room -> String? in
            guard let base = room.baseAddress else { return nil }
            let count = Int(OBJ_obj2txt(base, CInt(room.count), type, 1))
            return (1..<room.count).contains(count) ? String(cString: base) : nil
        }
        guard let oid, !bytes.contains(0), let value = String(validating: bytes, as: UTF8.self) else { return }
        others.append(OtherName(oid: oid, value: value))
    }

    /// The value in the syntax of OpenSSL's extension configuration. Names that could break out of it are refused.
    func configuration() throws(TLSError) -> String {
        for name in dns + uris + emails {
            guard !name.isEmpty, name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: ",") }) else {
                throw TLSError(.configuration, "\"\(name)\" is not a name for a certificate")
            }
        }
        return
            (dns.map { "DNS:" + $0 } + addresses.map { "IP:\($0)" } + uris.map { "URI:" + $0 }
            + emails.map { "email:" + $0 })
            .joined(separator: ",")
    }
}
