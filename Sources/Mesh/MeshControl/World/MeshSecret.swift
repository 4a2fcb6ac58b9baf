import Bytes
import ClusterAPI
import ClusterClient
import JSON
import TLS

/// A certificate with its key, from a Secret of type `kubernetes.io/tls`.
struct MeshSecret: APIDecodable, Hashable {
    let key: ObjectKey
    let certificate: String
    let privateKey: String
    /// Why it cannot be shown to anybody; nil when it can.
    let problem: String?

    init(_ object: KubeObject) {
        key = object.key
        func text(_ name: String) -> String? {
            object.json[path: "data", name]?.string.flatMap { Base64.decode($0) }.map {
                String(decoding: $0, as: UTF8.self)
            }
        }
        certificate = text("tls.crt") ?? ""
        privateKey = text("tls.key") ?? ""
        do throws(TLSError) {
            _ = try TLSIdentity(certificatePEM: certificate, keyPEM: privateKey)
            problem = nil
        } catch { problem = "\(error)" }
    }
}

/// Certificates of authorities, from the member `ca.crt` of a ConfigMap.
struct MeshAuthorities: APIDecodable, Hashable {
    let pem: String
    let problem: String?

    init(_ object: KubeObject) {
        guard let pem = object.json[path: "data", "ca.crt"]?.string else {
            (self.pem, problem) = ("", "it has no ca.crt")
            return
        }
        self.pem = pem
        do throws(TLSError) {
            problem = try Certificate.chain(pem: pem).isEmpty ? "its ca.crt holds no certificate" : nil
        } catch { problem = "\(error)" }
    }
}

/// The labels of a namespace.
struct MeshNamespace: APIDecodable, Hashable {
    let labels: [String: String]

    init(_ object: KubeObject) { labels = object.labels }

    init(labels: [String: String]) { self.labels = labels }
}
