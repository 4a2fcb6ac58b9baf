import Bytes
import JSON
import Reactor
import TLS
import XDS

/// `/certs`: the certificates that the resources in use name, as they are read now.
enum CertificatesPage {
    /// One entry for each TLS context: what it trusts, and what it shows.
    static func certificates(in resource: JSONValue, now: Timestamp = .now()) -> [JSONValue] {
        var found: [JSONValue] = []
        collect(resource, now, &found)
        return found
    }

    private static func collect(_ value: JSONValue, _ now: Timestamp, _ found: inout [JSONValue]) {
        switch value {
        case .object(let object):
            if let context = object["common_tls_context"] {
                let trusted = context["validation_context"]?["trusted_ca"].map { described($0, now) } ?? []
                let shown = (context["tls_certificates"]?.array ?? []).flatMap {
                    described($0["certificate_chain"] ?? [:], now)
                }
                if !trusted.isEmpty || !shown.isEmpty {
                    found.append(["ca_cert": .array(trusted), "cert_chain": .array(shown)])
                }
            }
            for member in object { collect(member.value, now, &found) }
        case .array(let elements): for element in elements { collect(element, now, &found) }
        default: break
        }
    }

    /// Of a `DataSource`; nothing for one that cannot be read.
    private static func described(_ source: JSONValue, _ now: Timestamp) -> [JSONValue] {
        var path = "<inline>"
        var text = source["inline_string"]?.string
        if let file = source["filename"]?.string {
            path = file
            text = try? Files.readText(file)
        } else if let bytes = source["inline_bytes"]?.string.flatMap({ Base64.decode($0) }) {
            text = String(decoding: bytes, as: UTF8.self)
        }
        let chain = text.flatMap { try? Certificate.chain(pem: $0) } ?? []
        return chain.map { .object($0.description(path: path, now: now)) }
    }
}

extension ProxyServer {
    func certificates() -> [JSONValue] {
        [ResourceKind.listener, .cluster].flatMap { kind in
            (resources.all(kind) + dynamic.all(kind)).flatMap { resource in
                CertificatesPage.certificates(in: (try? resource.message())?.json() ?? [:])
            }
        }
    }
}
