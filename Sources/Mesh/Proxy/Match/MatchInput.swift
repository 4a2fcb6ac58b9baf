import Bytes
import HTTP
import JSON
import XDS

/// What a matcher tree looks at (`xds.type.matcher.v3`, `envoy.type.matcher.v3`, `envoy.extensions.matching.common_inputs`).
enum MatchInput: Sendable {
    case requestHeader(HeaderKey)
    case responseHeader(HeaderKey)
    case queryParameter([UInt8])
    case statusCode
    case statusClass
    case localReply
    case destinationIP
    case destinationPort
    case sourceIP
    case sourcePort
    case directSourceIP
    case sourceType
    case serverName
    case transportProtocol
    case applicationProtocol
    case uriSAN
    case dnsSAN
    case subject
    case filterState(String)
    case metadata(String, [String])

    /// Shows the input as text; nil when there is none. Of addresses and numbers the text is made for the call.
    func withText<R>(_ subject: MatchSubject, _ body: (UnsafeRawBufferPointer?) -> R) -> R {
        switch self {
        case .requestHeader(let key):
            guard let stream = subject.stream else { return body(nil) }
            return stream.request.withJoined(key, body)
        case .responseHeader(let key):
            guard let stream = subject.stream else { return body(nil) }
            return stream.response.withJoined(key, body)
        case .queryParameter(let name):
            return body(subject.stream.flatMap { QueryString.value(of: name, in: $0.request.path) })
        case .statusCode:
            guard let status = subject.stream?.response.status, status > 0 else { return body(nil) }
            return withDecimal(status, body)
        case .statusClass:
            guard let status = subject.stream?.response.status, status > 0 else { return body(nil) }
            return Self.show("\(status / 100)xx", body)
        case .localReply:
            return Self.show(subject.stream?.flags.contains(.isLocalReply) == true ? "true" : "false", body)
        case .destinationIP: return Self.show(subject.origin.local.address, body)
        case .destinationPort: return Self.show(subject.origin.local.port, body)
        case .sourceIP: return Self.show(subject.remote.address, body)
        case .sourcePort: return Self.show(subject.remote.port, body)
        case .directSourceIP: return Self.show(subject.origin.directRemote.address, body)
        case .sourceType: return Self.isLocal(subject.origin) ? Self.show("local", body) : body(nil)
        case .serverName: return Self.showUnlessEmpty(subject.origin.serverName, body)
        case .transportProtocol: return Self.showUnlessEmpty(subject.origin.transportProtocol, body)
        case .applicationProtocol:
            let names = subject.origin.applicationProtocols
            return names.isEmpty ? body(nil) : Self.show(names.map { "'\($0)'" }.joined(separator: ","), body)
        case .uriSAN:
            return Self.showNames(subject.connection?.tlsSession?.peerCertificate?.alternativeNames.uris, body)
        case .dnsSAN: return Self.showNames(subject.connection?.tlsSession?.peerCertificate?.alternativeNames.dns, body)
        case .subject:
            return Self.showUnlessEmpty(subject.connection?.tlsSession?.peerCertificate?.subjectText ?? "", body)
        case .filterState(let key):
            guard let value = subject.stream?.metadata?.state[key] else { return body(nil) }
            return value.withUnsafeBytes { body($0) }
        case .metadata(let filter, let path):
            guard let text = subject.stream?.metadata?.values[filter]?.value(at: path)?.string else { return body(nil) }
            return Self.show(text, body)
        }
    }

    /// Metadata as they are, where the input is some; nil for what is not there.
    func metadata(_ subject: MatchSubject) -> JSONValue? {
        guard case .metadata(let filter, let path) = self else { return nil }
        return subject.stream?.metadata?.values[filter]?.value(at: path)
    }

    /// Addresses as they are, where the input is one.
    func address(_ subject: MatchSubject) -> IPAddress? {
        switch self {
        case .destinationIP: subject.origin.local.address
        case .sourceIP: subject.remote.address
        case .directSourceIP: subject.origin.directRemote.address
        default: withText(subject) { $0.flatMap { IPAddress(utf8: $0) } }
        }
    }

    static func isLocal(_ origin: ConnectionOrigin) -> Bool {
        guard let remote = origin.remote.address else { return true }
        return remote.isTheLoopback || remote == origin.local.address
    }

    private static func show<R>(_ text: String, _ body: (UnsafeRawBufferPointer?) -> R) -> R {
        var text = text
        return text.withUTF8 { body(UnsafeRawBufferPointer($0)) }
    }

    private static func showUnlessEmpty<R>(_ text: String, _ body: (UnsafeRawBufferPointer?) -> R) -> R {
        text.isEmpty ? body(nil) : show(text, body)
    }

    private static func showNames<R>(_ names: [String]?, _ body: (UnsafeRawBufferPointer?) -> R) -> R {
        guard let names, !names.isEmpty else { return body(nil) }
        return show(names.joined(separator: ","), body)
    }

    private static func show<R>(_ address: IPAddress?, _ body: (UnsafeRawBufferPointer?) -> R) -> R {
        address.map { show("\($0)", body) } ?? body(nil)
    }

    private static func show<R>(_ port: Port?, _ body: (UnsafeRawBufferPointer?) -> R) -> R {
        port.map { withDecimal(Int($0.rawValue), body) } ?? body(nil)
    }
}

extension MatchInput {
    /// What is packed in a `TypedExtensionConfig`.
    init(_ node: ConfigNode) throws(ConfigError) {
        _ = node.string("name")
        guard let input = try node.typed("typed_config") else { throw node.error("typed_config", "is missing") }
        func key() -> HeaderKey { HeaderKey(input.string("header_name")) }
        switch input.typeName {
        case "envoy.type.matcher.v3.HttpRequestHeaderMatchInput": self = .requestHeader(key())
        case "envoy.type.matcher.v3.HttpResponseHeaderMatchInput": self = .responseHeader(key())
        case "envoy.type.matcher.v3.HttpRequestQueryParamMatchInput":
            self = .queryParameter(Array(input.string("query_param").utf8))
        case "envoy.type.matcher.v3.HttpResponseStatusCodeMatchInput": self = .statusCode
        case "envoy.type.matcher.v3.HttpResponseStatusCodeClassMatchInput": self = .statusClass
        case "envoy.type.matcher.v3.HttpResponseLocalReplyMatchInput": self = .localReply
        case "envoy.extensions.matching.common_inputs.network.v3.DestinationIPInput": self = .destinationIP
        case "envoy.extensions.matching.common_inputs.network.v3.DestinationPortInput": self = .destinationPort
        case "envoy.extensions.matching.common_inputs.network.v3.SourceIPInput": self = .sourceIP
        case "envoy.extensions.matching.common_inputs.network.v3.SourcePortInput": self = .sourcePort
        case "envoy.extensions.matching.common_inputs.network.v3.DirectSourceIPInput": self = .directSourceIP
        case "envoy.extensions.matching.common_inputs.network.v3.SourceTypeInput": self = .sourceType
        case "envoy.extensions.matching.common_inputs.network.v3.ServerNameInput": self = .serverName
        case "envoy.extensions.matching.common_inputs.network.v3.TransportProtocolInput": self = .transportProtocol
        case "envoy.extensions.matching.common_inputs.network.v3.ApplicationProtocolInput": self = .applicationProtocol
        case "envoy.extensions.matching.common_inputs.network.v3.FilterStateInput":
            self = .filterState(input.string("key"))
        case "envoy.extensions.matching.common_inputs.network.v3.DynamicMetadataInput":
            self = .metadata(input.string("filter"), input.messages("path").map { $0.string("key") })
        case "envoy.extensions.matching.common_inputs.ssl.v3.UriSanInput": self = .uriSAN
        case "envoy.extensions.matching.common_inputs.ssl.v3.DnsSanInput": self = .dnsSAN
        case "envoy.extensions.matching.common_inputs.ssl.v3.SubjectInput": self = .subject
        default: throw node.error("typed_config", "matching input \(input.typeName) is not supported")
        }
    }
}
