import Bytes
import COpenSSL

/// The names a certificate is valid for (subjectAltName).
public struct AlternativeNames: Hashable, Sendable {
    public var dns: [String]
    public var addresses: [IPAddress]
    public var uris: [String]

    public init(dns: [String] = [], addresses: [IPAddress] = [], uris: [String] = []) {
        self.dns = dns
        self.addresses = addresses
        self.uris = uris
    }

    public var isEmpty: Bool { dns.isEmpty && addresses.isEmpty && uris.isEmpty }

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
            guard type == GEN_DNS || type == GEN_URI || type == GEN_IPADD,
                let string = weft_general_name_string(name), let start = ASN1_STRING_get0_data(string)
            else { continue }
            let bytes = UnsafeRawBufferPointer(start: start, count: Int(ASN1_STRING_length(string)))
            if type == GEN_IPADD {
                if let address = IPAddress(bytes: bytes) { addresses.append(address) }
            } else if !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) {
                if type == GEN_DNS { dns.append(text) } else { uris.append(text) }
            }
        }
    }

    /// The value in the syntax of OpenSSL's extension configuration. Names that could break out of it are refused.
    func configuration() throws(TLSError) -> String {
        for name in dns + uris {
            guard !name.isEmpty, name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: ",") }) else {
                throw TLSError(.configuration, "\"\(name)\" is not a name for a certificate")
            }
        }
        return (dns.map { "DNS:" + $0 } + addresses.map { "IP:\($0)" } + uris.map { "URI:" + $0 })
            .joined(separator: ",")
    }
}
