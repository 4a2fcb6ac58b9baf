import Bytes
import HTTP
import JSON
import Protobuf
import TLS
import XDS

/// An `envoy.service.auth.v3.CheckRequest` about a stream. Field numbers are those of `attribute_context.proto`.
struct CheckRequest {
    let attributes: AuthzAttributes
    let stream: HTTPStream
    let body: AuthzBody?
    let extensions: [(key: String, value: String)]

    func encoded() -> [UInt8] {
        var buffer = ReverseBuffer()
        buffer.prepend(field: 1) { message in
            if attributes.includesSession, let name = stream.tls?.serverName {
                message.prepend(field: 12) { $0.prepend(field: 1, text: name) }
            }
            message.prepend(
                field: 13, bytes: Self.metadata(attributes.routeNamespaces, of: stream.route?.metadata ?? [:]))
            message.prepend(
                field: 11, bytes: Self.metadata(attributes.metadataNamespaces, of: stream.metadata?.values ?? [:]))
            for entry in extensions.reversed() {
                message.prepend(field: 10) { pair in
                    pair.prepend(field: 2, text: entry.value)
                    pair.prepend(field: 1, text: entry.key)
                }
            }
            message.prepend(field: 4) { request in
                request.prepend(field: 2) { http(&$0) }
                request.prepend(field: 1) { time(&$0) }
            }
            message.prepend(field: 2) { destination(&$0) }
            message.prepend(field: 1) { source(&$0) }
        }
        return buffer.bytes
    }

    private func source(_ peer: inout ReverseBuffer) {
        if let certificate = stream.tls?.peerCertificate {
            if attributes.includesCertificate { peer.prepend(field: 5, text: certificate.urlEncodedPEM) }
            peer.prepend(field: 4, text: Self.principal(certificate))
        }
        if let cluster = stream.request.value(Self.serviceCluster) { peer.prepend(field: 2, bytes: cluster) }
        if let origin = stream.origin { address(origin.remote, &peer) }
    }

    private func destination(_ peer: inout ReverseBuffer) {
        if let certificate = stream.tls?.localCertificate { peer.prepend(field: 4, text: Self.principal(certificate)) }
        if let origin = stream.origin { address(origin.local, &peer) }
    }

    private static let serviceCluster = HeaderKey("x-envoy-downstream-service-cluster")

    /// The first URI, else the first DNS name, else the subject.
    private static func principal(_ certificate: Certificate) -> String {
        let names = certificate.alternativeNames
        return names.uris.first ?? names.dns.first ?? certificate.subjectText
    }

    private func address(_ address: SocketAddress, _ peer: inout ReverseBuffer) {
        peer.prepend(field: 1) { message in
            switch address {
            case .ip(let ip, let port, _):
                message.prepend(field: 1) { socket in
                    socket.prepend(field: 3, varint: UInt64(port.rawValue))
                    socket.prepend(field: 2, text: ip.description)
                }
            case .unix(let path): message.prepend(field: 2) { $0.prepend(field: 1, text: path) }
            case .abstract(let name): message.prepend(field: 2) { $0.prepend(field: 1, text: "@" + name) }
            case .netlink: break
            }
        }
    }

    private func time(_ message: inout ReverseBuffer) {
        let began = stream.wallClock(stream.began)
        message.prepend(field: 2, varint: UInt64(began.nanoseconds))
        message.prepend(field: 1, varint: UInt64(bitPattern: began.seconds))
    }

    private func http(_ message: inout ReverseBuffer) {
        let request = stream.request
        if let body { message.prepend(field: body.packsAsBytes ? 12 : 11, bytes: body.bytes) }
        message.prepend(field: 10, text: (stream.version ?? .http11).description)
        // So far: before the body nothing.
        message.prepend(field: 9, varint: stream.requestBytes)
        message.prepend(field: 6, bytes: request.scheme)
        message.prepend(field: 5, bytes: request.authority)
        message.prepend(field: 4, bytes: request.path)
        headers(&message)
        message.prepend(field: 2, bytes: request.methodText)
        message.prepend(field: 1, text: "\(stream.id)")
    }

    /// Fields of one name are one entry, their values joined by commas.
    private func headers(_ message: inout ReverseBuffer) {
        let request = stream.request
        if let body {
            message.prepend(
                field: 3, key: StaticString("x-envoy-auth-partial-body").bytes,
                value: (body.isPartial ? "true" as StaticString : "false").bytes)
        }
        for index in (0..<request.count).reversed() {
            let field = request.fields[index]
            let name = request.name(field)
            guard attributes.shows(name) else { continue }
            let isFirst = !(0..<index).contains { request.name(request.fields[$0]).elementsEqual(name) }
            guard isFirst else { continue }
            var value = Array(request.value(field))
            for other in (index + 1)..<max(request.count, index + 1)
            where request.name(request.fields[other]).elementsEqual(name) {
                value.append(UInt8(ascii: ","))
                value += request.value(request.fields[other])
            }
            value.withUnsafeBytes { message.prepend(field: 3, key: name, value: $0) }
        }
        let pseudo: [(StaticString, UnsafeRawBufferPointer)] = [
            (":scheme", request.scheme), (":path", request.path), (":method", request.methodText),
            (":authority", request.authority),
        ]
        for (name, value) in pseudo where !value.isEmpty && attributes.shows(name.bytes) {
            message.prepend(field: 3, key: name.bytes, value: value)
        }
    }

    /// A `core.v3.Metadata` of the namespaces that the service is to see.
    private static func metadata(_ namespaces: [String], of values: [String: JSONObject]) -> [UInt8] {
        guard !values.isEmpty, !namespaces.isEmpty else { return [] }
        var shown = JSONObject()
        for name in namespaces { if let object = values[name] { shown[name] = .object(object) } }
        guard !shown.isEmpty, let type = ProtoSchema.envoy.message("envoy.config.core.v3.Metadata"),
            let message = try? Message(json: ["filter_metadata": .object(shown)], type: type)
        else { return [] }
        return message.binary()
    }
}
