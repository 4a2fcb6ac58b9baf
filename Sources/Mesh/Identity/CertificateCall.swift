import Protobuf

/// `istio.v1.auth.IstioCertificateService/CreateCertificate`: a request to have a key certified, and the answer. The interface by which
/// Istio's nodes ask theirs, so that whoever speaks that one is understood.
public enum CertificateCall {
    public static let path = "/istio.v1.auth.IstioCertificateService/CreateCertificate"

    /// What the caller says besides the key: whom it asks for, when it is not itself.
    public enum Metadata {
        /// A SPIFFE name.
        public static let impersonated = "ImpersonatedIdentity"
        public static let podName = "PodName"
        public static let podNamespace = "PodNamespace"
        public static let podUID = "PodUID"
    }

    public struct Request: Hashable, Sendable {
        /// PKCS#10 in PEM.
        public var csr: String
        /// Seconds; 0 leaves it to the authority.
        public var lifetime: Int64
        public var metadata: [String: String]

        public init(csr: String, lifetime: Int64 = 0, metadata: [String: String] = [:]) {
            (self.csr, self.lifetime, self.metadata) = (csr, lifetime, metadata)
        }

        public init(_ bytes: [UInt8]) throws(MalformedMessage) {
            var request = Request(csr: "")
            try bytes.forEachField { field throws(MalformedMessage) in
                switch (field.number, field.wire) {
                case (1, .bytes): request.csr = field.text
                case (3, .varint): request.lifetime = Int64(bitPattern: field.scalar)
                case (4, .bytes): request.metadata = try Self.texts(Array(field.bytes))
                default: break
                }
            }
            self = request
        }

        public var bytes: [UInt8] {
            var out = ReverseBuffer()
            let struct_ = out.count
            for (name, value) in metadata.sorted(by: { $0.key > $1.key }) {
                let entry = out.count
                let wrapped = out.count
                out.prepend(field: 3, text: value)
                out.close(field: 2, since: wrapped)
                out.prepend(field: 1, text: name)
                out.close(field: 1, since: entry)
            }
            if !metadata.isEmpty { out.close(field: 4, since: struct_) }
            if lifetime != 0 {
                out.prepend(varint: UInt64(bitPattern: lifetime))
                out.prepend(field: 3, .varint)
            }
            out.prepend(field: 1, text: csr)
            return out.bytes
        }

        /// The texts of a `google.protobuf.Struct`; what is no text is passed over.
        private static func texts(_ bytes: [UInt8]) throws(MalformedMessage) -> [String: String] {
            var texts: [String: String] = [:]
            try bytes.forEachField { entry throws(MalformedMessage) in
                guard entry.number == 1, entry.wire == .bytes else { return }
                var name = ""
                var text: String?
                try Array(entry.bytes).forEachField { field throws(MalformedMessage) in
                    guard field.wire == .bytes else { return }
                    if field.number == 1 { name = field.text }
                    guard field.number == 2 else { return }
                    try Array(field.bytes).forEachField { value throws(MalformedMessage) in
                        if value.number == 3, value.wire == .bytes { text = value.text }
                    }
                }
                if let text { texts[name] = text }
            }
            return texts
        }
    }

    public struct Response: Hashable, Sendable {
        /// PEM: the new certificate, what leads from it to its root, and last all roots that are trusted, together.
        public var chain: [String]

        public init(chain: [String]) { self.chain = chain }

        public init(_ bytes: [UInt8]) throws(MalformedMessage) {
            var chain: [String] = []
            try bytes.forEachField { field throws(MalformedMessage) in
                if field.number == 1, field.wire == .bytes { chain.append(field.text) }
            }
            self.chain = chain
        }

        public var bytes: [UInt8] {
            var out = ReverseBuffer()
            for text in chain.reversed() { out.prepend(field: 1, text: text) }
            return out.bytes
        }
    }
}
