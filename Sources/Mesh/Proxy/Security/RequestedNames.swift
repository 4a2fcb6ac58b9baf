import Bytes
import XDS

/// Which name TLS asks an upstream for, taken from requests (`auto_sni`, `auto_san_validation`). Connections are pooled by it.
struct RequestedNames: Sendable, Equatable {
    /// The name is asked for (SNI).
    var asks: Bool
    /// The upstream's certificate has to be for it.
    var checksCertificates: Bool
    /// Says it in place of the authority where a request has it (`override_auto_sni_header`).
    var header: HeaderKey?

    /// An `UpstreamHttpProtocolOptions`; nil when it asks for nothing.
    init?(_ node: ConfigNode) {
        asks = node.bool("auto_sni")
        checksCertificates = node.bool("auto_san_validation")
        let name = node.string("override_auto_sni_header").lowercased()
        header = name.isEmpty ? nil : HeaderKey(name)
        guard asks || checksCertificates else { return nil }
    }

    /// Without its port; nil when a request says nothing.
    func name(of request: HeaderBlock) -> String? {
        var text = header.flatMap { request.value($0) }.map { String(decoding: $0, as: UTF8.self) } ?? ""
        if text.isEmpty { text = String(decoding: request.authority, as: UTF8.self) }
        let name = Self.withoutPort(text)
        return name.isEmpty ? nil : name
    }

    /// `[::1]:80` → `::1`, `a.b:80` → `a.b`.
    static func withoutPort(_ text: String) -> String {
        if text.first == "[", let end = text.firstIndex(of: "]") {
            return String(text[text.index(after: text.startIndex)..<end])
        }
        guard let colon = text.lastIndex(of: ":"), text.firstIndex(of: ":") == colon else { return text }
        return String(text[..<colon])
    }
}
