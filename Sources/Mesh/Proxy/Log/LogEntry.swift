import Bytes
import HTTP
import Protobuf
import Reactor
import TLS

/// A stream, or a connection without HTTP, as an entry of `envoy.data.accesslog.v3`. Fields last to first.
struct LogEntry: Sendable {
    var isHTTP: Bool
    var requestHeaders: [HeaderKey] = []
    var responseHeaders: [HeaderKey] = []
    var trailers: [HeaderKey] = []
    var tags: [CustomTag] = []

    /// A `log_entry` field.
    func prepend(_ stream: HTTPStream, to buffer: inout ReverseBuffer) {
        buffer.prepend(field: 1) { entry in
            guard isHTTP else {
                entry.prepend(field: 2) { connection in
                    connection.prepend(field: 2, varint: stream.responseBytes)
                    connection.prepend(field: 1, varint: stream.requestBytes)
                }
                return entry.prepend(field: 1) { common(stream, &$0) }
            }
            entry.prepend(field: 4) { response(stream, &$0) }
            entry.prepend(field: 3) { request(stream, &$0) }
            switch stream.version {
            case .http10: entry.prepend(field: 2, varint: 1)
            case .http11: entry.prepend(field: 2, varint: 2)
            case .http2: entry.prepend(field: 2, varint: 3)
            case nil: break
            }
            entry.prepend(field: 1) { common(stream, &$0) }
        }
    }

    // MARK: HTTP

    private func request(_ stream: HTTPStream, _ buffer: inout ReverseBuffer) {
        let request = stream.request
        for key in requestHeaders.reversed() { Self.prepend(key, of: request, field: 13, &buffer) }
        buffer.prepend(field: 12, varint: stream.requestBytes)
        buffer.prepend(field: 11, varint: UInt64(request.wireSize))
        func field(_ number: Int, _ value: UnsafeRawBufferPointer?) {
            if let value { buffer.prepend(field: number, bytes: value) }
        }
        field(10, request.value(.envoyOriginalPath))
        field(9, request.value(.xRequestID))
        field(8, request.value(.xForwardedFor))
        field(7, request.value(Self.referer))
        field(6, request.value(.userAgent))
        field(5, request.path)
        field(3, request.authority)
        field(2, request.scheme)
        buffer.prepend(field: 1, varint: Self.number(of: request.method))
    }

    private func response(_ stream: HTTPStream, _ buffer: inout ReverseBuffer) {
        if let detail = stream.detailText {
            buffer.prepend(field: 6, text: detail)
        } else {
            buffer.prepend(field: 6, bytes: stream.details.bytes)
        }
        if let block = stream.trailers {
            for key in trailers.reversed() { Self.prepend(key, of: block, field: 5, &buffer) }
        }
        for key in responseHeaders.reversed() { Self.prepend(key, of: stream.response, field: 4, &buffer) }
        buffer.prepend(field: 3, varint: stream.responseBytes)
        buffer.prepend(field: 2, varint: UInt64(stream.response.wireSize))
        guard stream.response.status > 0 else { return }
        buffer.prepend(field: 1) { $0.prepend(field: 1, varint: UInt64(stream.response.status)) }
    }

    /// An entry of a map; several fields of a name are joined by commas.
    private static func prepend(
        _ key: HeaderKey, of block: HeaderBlock, field: Int, _ buffer: inout ReverseBuffer
    ) {
        guard let first = block.find(key) else { return }
        let mark = buffer.count
        var found: [Int] = []
        var index: Int? = first
        while let at = index {
            found.append(at)
            index = block.find(key, from: at + 1)
        }
        for (place, at) in found.enumerated().reversed() {
            buffer.prepend(block.value(block.fields[at]))
            if place > 0 { buffer.prepend(UInt8(ascii: ",")) }
        }
        buffer.close(field: 2, since: mark)
        buffer.prepend(field: 1, bytes: key.text)
        buffer.close(field: field, since: mark)
    }

    private static let referer = HeaderKey("referer")

    /// A `core.v3.RequestMethod`.
    private static func number(of method: HTTPMethod) -> UInt64 {
        switch method {
        case .get: 1
        case .head: 2
        case .post: 3
        case .put: 4
        case .delete: 5
        case .connect: 6
        case .options: 7
        case .trace: 8
        case .patch: 9
        case .other: 0
        }
    }

    // MARK: What all have

    private func common(_ stream: HTTPStream, _ buffer: inout ReverseBuffer) {
        buffer.prepend(field: 33, varint: Self.kind(of: stream))
        if let id = stream.request.value(.xRequestID) {
            buffer.prepend(field: 26, bytes: id)
        } else {
            buffer.prepend(field: 26, text: "\(isHTTP ? stream.id : stream.connectionID ?? 0)")
        }
        buffer.prepend(field: 25, said: stream.connectionTermination)
        buffer.prepend(field: 24, varint: UInt64(stream.attempts))
        duration(23, stream, .now, &buffer)
        for tag in tags.reversed() {
            var text = GrowingBytes()
            if tag.render(stream, into: &text) {
                tag.name.withUnsafeBytes { buffer.prepend(field: 22, key: $0, value: text.bytes) }
            }
            text.deallocate()
        }
        if let origin = stream.origin { Self.prepend(origin.directRemote, field: 20, &buffer) }
        if let name = stream.route?.name { buffer.prepend(field: 19, said: name) }
        buffer.prepend(field: 18, said: stream.upstream.failure)
        if let metadata = stream.metadata { Self.prepend(metadata, field: 17, &buffer) }
        if !stream.responseFlags.isEmpty { buffer.prepend(field: 16) { Self.flags(stream.responseFlags, &$0) } }
        if let name = stream.clusterName { buffer.prepend(field: 15, said: name) }
        if let local = stream.upstream.local { Self.prepend(local, field: 14, &buffer) }
        if let remote = stream.upstream.remote { Self.prepend(remote, field: 13, &buffer) }
        if isHTTP {
            duration(12, stream, .sendEnd, &buffer)
            duration(11, stream, .sendBegin, &buffer)
            duration(10, stream, .upstreamEnd, &buffer)
            duration(9, stream, .upstreamBegin, &buffer)
            duration(8, stream, .upstreamSendEnd, &buffer)
            duration(7, stream, .upstreamSendBegin, &buffer)
            duration(6, stream, .downstreamEnd, &buffer)
        }
        let began = stream.wallClock(stream.began)
        buffer.prepend(field: 5) { time in
            time.prepend(field: 2, varint: UInt64(began.nanoseconds))
            time.prepend(field: 1, varint: UInt64(bitPattern: began.seconds))
        }
        if let session = stream.tls { buffer.prepend(field: 4) { tls(session, stream, &$0) } }
        if let origin = stream.origin { Self.prepend(origin.local, field: 3, &buffer) }
        if let client = stream.client { Self.prepend(client, field: 2, &buffer) }
    }

    private static func kind(of stream: HTTPStream) -> UInt64 {
        switch "\(stream.logKind)" {
        case "TcpUpstreamConnected": 1
        case "TcpPeriodic": 2
        case "TcpConnectionEnd": 3
        case "TcpConnectionStart": 14
        case "UpstreamPoolReady": 7
        case "UpstreamEnd": 9
        default: stream.isOver ? 6 : 0
        }
    }

    /// From when the stream began.
    private func duration(_ field: Int, _ stream: HTTPStream, _ moment: StreamMoment, _ buffer: inout ReverseBuffer) {
        guard let moment = stream.moment(moment), moment >= stream.began else { return }
        let time = moment - stream.began
        buffer.prepend(field: field) { message in
            message.prepend(field: 2, varint: time % 1_000_000_000)
            message.prepend(field: 1, varint: time / 1_000_000_000)
        }
    }

    /// A `core.v3.Address`.
    private static func prepend(_ address: SocketAddress, field: Int, _ buffer: inout ReverseBuffer) {
        buffer.prepend(field: field) { message in
            switch address {
            case .ip(let ip, let port, _):
                message.prepend(field: 1) { socket in
                    // A port of 0 is said.
                    socket.prepend(varint: UInt64(port.rawValue))
                    socket.prepend(field: 3, .varint)
                    socket.prepend(field: 2, text: ip.description)
                }
            case .unix(let path): message.prepend(field: 2) { $0.prepend(field: 1, text: path) }
            case .abstract(let name): message.prepend(field: 2) { $0.prepend(field: 1, text: "@" + name) }
            case .netlink: break
            }
        }
    }

    /// A `core.v3.Metadata`.
    private static func prepend(_ metadata: StreamMetadata, field: Int, _ buffer: inout ReverseBuffer) {
        buffer.prepend(field: field) { message in
            for name in metadata.values.keys.sorted().reversed() {
                guard let object = metadata.values[name] else { continue }
                message.prepend(field: 1) { entry in
                    entry.prepend(field: 2) { structure in structure.prepend(structure: object) }
                    entry.prepend(field: 1, text: name)
                }
            }
        }
    }

    /// An `accesslog.v3.ResponseFlags`: in the order of the flags' bits, and what has come since.
    private static func flags(_ flags: ResponseFlags, _ buffer: inout ReverseBuffer) {
        for bit in (0..<ResponseFlags.names.count).reversed() where flags.rawValue & 1 << UInt64(bit) != 0 {
            switch bit {
            case 12: buffer.prepend(field: 13) { $0.prepend(field: 1, varint: 1) }
            case 0..<12: buffer.prepend(field: bit + 1, varint: 1)
            case 13...26: buffer.prepend(field: bit + 1, varint: 1)
            case 28: buffer.prepend(field: 28, varint: 1)
            default: break
            }
        }
    }

    // MARK: TLS

    private func tls(_ session: TLSSession, _ stream: HTTPStream, _ buffer: inout ReverseBuffer) {
        buffer.prepend(field: 6, said: session.sessionID)
        if let certificate = session.peerCertificate { buffer.prepend(field: 5) { Self.prepend(certificate, &$0) } }
        if let certificate = session.localCertificate { buffer.prepend(field: 4) { Self.prepend(certificate, &$0) } }
        if let origin = stream.origin { buffer.prepend(field: 3, said: origin.serverName) }
        switch session.version {
        case "TLSv1": buffer.prepend(field: 1, varint: 1)
        case "TLSv1.1": buffer.prepend(field: 1, varint: 2)
        case "TLSv1.2": buffer.prepend(field: 1, varint: 3)
        case "TLSv1.3": buffer.prepend(field: 1, varint: 4)
        default: break
        }
    }

    private static func prepend(_ certificate: Certificate, _ buffer: inout ReverseBuffer) {
        buffer.prepend(field: 3, said: certificate.issuerText)
        buffer.prepend(field: 2, said: certificate.subjectText)
        let names = certificate.alternativeNames
        for name in names.dns.reversed() { buffer.prepend(field: 1) { $0.prepend(field: 2, said: name) } }
        for name in names.uris.reversed() { buffer.prepend(field: 1) { $0.prepend(field: 1, text: name) } }
    }
}
