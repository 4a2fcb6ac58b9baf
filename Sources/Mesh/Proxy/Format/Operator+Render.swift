import Bytes
import Glibc
import HTTP
import TLS

extension Operator {
    /// Appends the value for a stream; false when there is none.
    func render(_ stream: HTTPStream, into output: inout GrowingBytes) -> Bool {
        switch self {
        case .request(let key, let other): return field(stream.request, key, other, &output)
        case .response(let key, let other):
            guard !key.isStatus else {
                guard stream.response.status > 0 else { return false }
                output.append(decimal: stream.response.status)
                return true
            }
            return field(stream.response, key, other, &output)
        case .requestWithoutQuery(let key, let other):
            guard let value = stream.request.value(key) ?? other.flatMap({ stream.request.value($0) }) else {
                return false
            }
            let end = value.firstIndex(of: UInt8(ascii: "?")) ?? value.count
            output.append(UnsafeRawBufferPointer(rebasing: value[..<end]))
        case .trailer(let key, let other):
            guard let trailers = stream.trailers else { return false }
            return field(trailers, key, other, &output)
        case .startTime(let format): format.render(stream.wallClock(stream.began), into: &output)
        case .emitTime(let format): format.render(.now(), into: &output)
        case .span(let from, let to, let unit):
            guard let from = stream.moment(from), let to = stream.moment(to), to >= from else { return false }
            output.append(decimal: Int((to - from) / unit.nanoseconds))
        case .path(let query, let source): return path(stream, query, source, &output)
        case .queryParameter(let name):
            return stream.request.withQueryParameter(name) { value in
                guard let value else { return false }
                output.append(value)
                return true
            }
        case .queryParameters:
            let path = stream.request.path
            guard let mark = path.firstIndex(of: UInt8(ascii: "?")) else { return false }
            output.append(UnsafeRawBufferPointer(rebasing: path[(mark + 1)...]))
        case .protocol:
            guard let version = stream.version else { return false }
            output.append(version.text)
        case .upstreamProtocol:
            guard let version = stream.upstream.version else { return false }
            output.append(version.text)
        case .responseCode: output.append(decimal: stream.response.status)
        case .responseFlags: return flags(stream, \.short, &output)
        case .responseFlagsLong: return flags(stream, \.long, &output)
        case .responseCodeDetails:
            if let text = stream.detailText {
                output.append(utf8: text)
            } else {
                guard stream.details.utf8CodeUnitCount > 0 else { return false }
                output.append(stream.details)
            }
        case .connectionTerminationDetails:
            guard !stream.connectionTermination.isEmpty else { return false }
            output.append(utf8: stream.connectionTermination)
        case .bytesReceived: output.append(decimal: Int(stream.requestBytes))
        case .bytesSent: output.append(decimal: Int(stream.responseBytes))
        case .requestHeadersBytes: output.append(decimal: stream.request.wireSize)
        case .responseHeadersBytes: output.append(decimal: stream.response.wireSize)
        case .responseTrailersBytes: output.append(decimal: stream.trailers?.wireSize ?? 0)
        case .upstreamHost: return address(stream.upstream.remote, &output)
        case .upstreamRemoteAddress: return address(stream.upstream.peer, &output)
        case .upstreamHostName, .upstreamHostNameWithoutPort:
            if !stream.upstream.hostname.isEmpty {
                output.append(utf8: stream.upstream.hostname)
            } else if case .upstreamHostName = self {
                return address(stream.upstream.remote, &output)
            } else {
                return host(stream.upstream.remote, &output)
            }
        case .upstreamCluster, .upstreamClusterRaw:
            guard let name = stream.clusterName else { return false }
            output.append(utf8: name)
        case .upstreamLocalAddress: return address(stream.upstream.local, &output)
        case .upstreamLocalAddressWithoutPort: return host(stream.upstream.local, &output)
        case .upstreamRemoteAddressWithoutPort: return host(stream.upstream.peer, &output)
        case .upstreamLocalPort: return port(stream.upstream.local, &output)
        case .upstreamRemotePort: return port(stream.upstream.peer, &output)
        case .upstreamAttempts: output.append(decimal: stream.attempts)
        case .upstreamFailureReason:
            guard !stream.upstream.failure.isEmpty else { return false }
            // A log's line stays one line, with its fields apart.
            for byte in stream.upstream.failure.utf8 { output.append(byte == 0x20 ? UInt8(ascii: "_") : byte) }
        case .upstreamConnectionID:
            guard stream.upstream.connectionID > 0 else { return false }
            output.append(decimal: Int(stream.upstream.connectionID))
        case .downstreamLocalAddress: return address(stream.origin?.local, &output)
        case .downstreamRemoteAddress: return address(stream.client, &output)
        case .downstreamDirectRemoteAddress: return address(stream.origin?.directRemote, &output)
        case .downstreamLocalAddressWithoutPort: return host(stream.origin?.local, &output)
        case .downstreamRemoteAddressWithoutPort: return host(stream.client, &output)
        case .downstreamDirectRemoteAddressWithoutPort: return host(stream.origin?.directRemote, &output)
        case .downstreamLocalPort: return port(stream.origin?.local, &output)
        case .downstreamRemotePort: return port(stream.client, &output)
        case .downstreamDirectRemotePort: return port(stream.origin?.directRemote, &output)
        case .downstreamFailureReason: return false
        case .serverName:
            guard let name = stream.origin?.serverName, !name.isEmpty else { return false }
            output.append(utf8: name)
        case .routeName:
            guard let name = stream.route?.name, !name.isEmpty else { return false }
            output.append(utf8: name)
        case .virtualClusterName:
            guard let virtual = stream.routing.virtualCluster else { return false }
            output.append(utf8: virtual.name)
        case .grpcStatus(let form): return grpcStatus(stream, form, &output)
        case .metadata(let namespace, let path):
            guard let text = stream.metadata?.text(namespace, path) else { return false }
            output.append(utf8: text)
        case .configuredMetadata(let owner, let namespace, let path):
            guard let text = owner.text(stream, namespace, path) else { return false }
            output.append(utf8: text)
        case .filterState: return false
        case .connectionID:
            guard let id = stream.connectionID else { return false }
            output.append(decimal: Int(id))
        case .streamID: output.append(decimal: Int(stream.id))
        case .traceID:
            guard let context = stream.trace?.context else { return false }
            context.withTraceText { output.append($0) }
        case .hostname: output.append(utf8: Self.machineName)
        case .environment(let value):
            guard let value else {
                output.append("-")
                return true
            }
            value.withUnsafeBytes { output.append($0) }
        case .localReplyBody:
            stream.localReplyBody.withUnsafeBytes { output.append($0) }
        case .accessLogType:
            if stream.logKind.utf8CodeUnitCount > 0 {
                output.append(stream.logKind)
            } else {
                output.append(stream.isOver ? "DownstreamEnd" : "NotSet")
            }
        case .tls(let fact): return tls(stream.tls, fact, &output)
        case .upstreamTLS(let fact): return tls(stream.upstream.tls, fact, &output)
        }
        return true
    }

    /// Numbers stay numbers in JSON.
    var isNumber: Bool {
        switch self {
        case .span, .responseCode, .bytesReceived, .bytesSent, .requestHeadersBytes, .responseHeadersBytes,
            .responseTrailersBytes, .upstreamLocalPort, .upstreamRemotePort, .upstreamAttempts, .upstreamConnectionID,
            .downstreamLocalPort, .downstreamRemotePort, .downstreamDirectRemotePort, .connectionID:
            true
        case .grpcStatus(.number): true
        default: false
        }
    }

    private static let machineName: String = {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { room in
            gethostname(room.baseAddress!, room.count) == 0 ? String(cString: room.baseAddress!) : "-"
        }
    }()

    private func field(
        _ block: HeaderBlock, _ key: HeaderKey, _ other: HeaderKey?, _ output: inout GrowingBytes
    ) -> Bool {
        guard let value = block.value(key) ?? other.flatMap({ block.value($0) }) else { return false }
        output.append(value)
        return true
    }

    private func path(
        _ stream: HTTPStream, _ query: Bool, _ source: PathSource, _ output: inout GrowingBytes
    ) -> Bool {
        let original = stream.request.value(HeaderKey.envoyOriginalPath)
        let found: UnsafeRawBufferPointer? =
            switch source {
            case .original: original
            case .rewritten: stream.request.path
            case .originalOrRewritten: original ?? stream.request.path
            }
        guard let found, !found.isEmpty else { return false }
        let end = query ? nil : found.firstIndex(of: UInt8(ascii: "?"))
        output.append(UnsafeRawBufferPointer(rebasing: found[..<(end ?? found.count)]))
        return true
    }

    private func flags(
        _ stream: HTTPStream, _ form: KeyPath<(short: StaticString, long: StaticString), StaticString>,
        _ output: inout GrowingBytes
    ) -> Bool {
        let flags = stream.responseFlags
        guard !flags.isEmpty else {
            // This, and no null, says in JSON too that there are none.
            output.append("-")
            return true
        }
        var isFirst = true
        // In the order in which they come up: of a request it is known that nothing more is tried before what the last try
        // failed by is said; of a connection after it.
        let exhausted: ResponseFlags = stream.version == nil ? [] : .upstreamRetryLimitExceeded
        for flags in [flags.intersection(exhausted), flags.subtracting(exhausted)] {
            for (bit, names) in ResponseFlags.names.enumerated() where flags.rawValue & 1 << UInt64(bit) != 0 {
                if !isFirst { output.append(",") }
                isFirst = false
                output.append(names[keyPath: form])
            }
        }
        return true
    }

    private func address(_ address: SocketAddress?, _ output: inout GrowingBytes) -> Bool {
        guard let address else { return false }
        switch address {
        case .unix(let path): output.append(utf8: path)
        case .abstract(let name): output.append(utf8: "@" + name)
        default: output.append(utf8: address.description)
        }
        return true
    }

    private func host(_ address: SocketAddress?, _ output: inout GrowingBytes) -> Bool {
        guard let ip = address?.address else { return self.address(address, &output) }
        output.append(utf8: ip.description)
        return true
    }

    private func port(_ address: SocketAddress?, _ output: inout GrowingBytes) -> Bool {
        guard let port = address?.port else { return false }
        output.append(decimal: Int(port.rawValue))
        return true
    }

    private func grpcStatus(_ stream: HTTPStream, _ form: GRPCStatusForm, _ output: inout GrowingBytes) -> Bool {
        guard stream.isGRPC else { return false }
        let text = stream.trailers?.value(.grpcStatus) ?? stream.response.value(.grpcStatus)
        let code = text?.decimal.flatMap { Int(exactly: $0) } ?? GRPCStatus.code(for: stream.response.status)
        guard form != .number, GRPCStatus.names.indices.contains(code) else {
            output.append(decimal: code)
            return true
        }
        output.append(form == .camel ? GRPCStatus.names[code].camel : GRPCStatus.names[code].snake)
        return true
    }

    private func tls(_ session: TLSSession?, _ fact: TLSFact, _ output: inout GrowingBytes) -> Bool {
        guard let session else { return false }
        func say(_ text: String?) -> Bool {
            guard let text, !text.isEmpty else { return false }
            output.append(utf8: text)
            return true
        }
        switch fact {
        case .version: return say(session.version)
        case .cipher: return say(session.cipherName)
        case .sessionID: return say(session.sessionID)
        case .peerSubject: return say(session.peerCertificate?.subjectText)
        case .peerIssuer: return say(session.peerCertificate?.issuerText)
        case .peerSerial: return say(session.peerCertificate?.serial)
        case .peerFingerprint: return say(session.peerCertificate?.fingerprintText)
        case .peerURIs: return say(session.peerCertificate?.alternativeNames.uris.joined(separator: ","))
        case .peerNames: return say(session.peerCertificate?.alternativeNames.dns.joined(separator: ","))
        case .peerAddresses: return say(Self.addresses(session.peerCertificate))
        case .peerCertificate: return say(session.peerCertificate?.urlEncodedPEM)
        case .localSubject: return say(session.localCertificate?.subjectText)
        case .localURIs: return say(session.localCertificate?.alternativeNames.uris.joined(separator: ","))
        case .localNames: return say(session.localCertificate?.alternativeNames.dns.joined(separator: ","))
        case .localAddresses: return say(Self.addresses(session.localCertificate))
        case .peerValidFrom: return say(session.peerCertificate?.notBefore.rfc3339)
        case .peerValidUntil: return say(session.peerCertificate?.notAfter.rfc3339)
        }
    }
}

extension Operator {
    private static func addresses(_ certificate: Certificate?) -> String? {
        certificate?.alternativeNames.addresses.map(\.description).joined(separator: ",")
    }
}

extension TimeUnit {
    var nanoseconds: UInt64 {
        switch self {
        case .milliseconds: 1_000_000
        case .microseconds: 1000
        case .nanoseconds: 1
        }
    }
}

extension HTTPVersion {
    /// As access logs write it.
    var text: StaticString {
        switch self {
        case .http10: "HTTP/1.0"
        case .http11: "HTTP/1.1"
        case .http2: "HTTP/2"
        }
    }
}
