import Bytes
import HTTP

/// What the connection manager does to every request before filters see it: what belongs to one hop goes, who the client is
/// and under which number the request runs is written down, and what only our own may say is not believed of others.
enum RequestHygiene {
    /// False when the request was refused; the client has its answer then.
    static func apply(to stream: HTTPStream) -> Bool {
        let request = stream.request
        let manager = stream.manager
        guard checkNames(stream, manager), checkConnection(stream) else { return false }
        if stream.flags.contains(.lacksHost) {
            reject(stream, 400, "missing_host_header")
            return false
        }
        guard checkPath(stream, manager) else { return false }
        normalizeHost(stream, manager)
        if !manager.options.earlyMutations.isEmpty {
            for mutation in manager.options.earlyMutations { mutation.apply(to: request, stream) }
        }
        removeHopByHop(request, keepsUpgrade: stream.flags.contains(.isUpgrade))
        forwardCertificate(stream, manager)
        return identify(stream, manager)
    }

    // MARK: What may be refused

    private static let pathFailure: StaticString = "path_normalization_failed"

    /// Nothing is read behind a request that means ill.
    private static func reject(_ stream: HTTPStream, _ status: Int, _ details: StaticString) {
        stream.requestIsWhole()
        if details.bytes.elementsEqual(pathFailure.bytes) {
            stream.worker.stats(stream.manager).pointee.pathsNotNormalized &+= 1
        }
        if status == 400 { stream.flags.insert(.endsConnection) }
        stream.reply(
            status, body: UnsafeRawBufferPointer(start: nil, count: 0), details: details
        )
    }

    /// As above, for what the codec itself does not take: no filter and no log sees anything of the request.
    private static func rejectMessage(_ stream: HTTPStream, _ details: StaticString) {
        if stream.codecVersion == .http2 {
            stream.responseFlags.insert(.downstreamProtocolError)
            stream.details = details
            return stream.cut(.protocolError)
        }
        stream.flags.insert(.endsConnection)
        stream.request.clear()
        stream.refuse(400, details, flag: .downstreamProtocolError)
    }

    /// `headers_with_underscores_action`
    private static func checkNames(_ stream: HTTPStream, _ manager: ConnectionManager) -> Bool {
        guard manager.options.underscores != .allow else { return true }
        let request = stream.request
        let mark = UInt8(ascii: "_")
        guard (0..<request.count).contains(where: { request.name(request.fields[$0]).contains(mark) }) else {
            return true
        }
        let isHTTP2 = stream.codecVersion == .http2
        guard manager.options.underscores == .drop else {
            if let counters = manager.options.underscoreCounters {
                stream.worker.count(isHTTP2 ? counters.rejectedHTTP2 : counters.rejectedHTTP1)
            }
            rejectMessage(stream, isHTTP2 ? "http2.unexpected_underscore" : "http1.unexpected_underscore")
            return false
        }
        let before = request.count
        request.removeAll { request.name($0).contains(mark) }
        if let counters = manager.options.underscoreCounters {
            stream.worker.count(
                isHTTP2 ? counters.droppedHTTP2 : counters.droppedHTTP1, UInt64(before - request.count))
        }
        return true
    }

    /// Fields that `Connection` names go with it (RFC 9110 §7.6.1). Naming what others rely on is an attack.
    private static func checkConnection(_ stream: HTTPStream) -> Bool {
        let request = stream.request
        guard let index = request.find(.connection) else { return true }
        let value = request.value(request.fields[index])
        // What nearly all say, and names nothing else.
        if equalsIgnoringCase(value, "close") || equalsIgnoringCase(value, "keep-alive") { return true }
        for token in value.split(separator: UInt8(ascii: ",")) {
            let name = token.trimmed
            let known = HeaderName(name)
            switch known {
            case .upgrade, .keepAlive, .connection, .te, .http2Settings, .transferEncoding, .contentLength: continue
            case .xForwardedFor, .xForwardedHost, .xForwardedProto:
                rejectMessage(stream, "http1.connection_header_rejected")
                return false
            case .other where name.first == UInt8(ascii: ":"):
                rejectMessage(stream, "http1.connection_header_rejected")
                return false
            case .host: stream.flags.insert(.lacksHost)
            case .other:
                request.removeAll { field in
                    guard field.name == .other else { return false }
                    let other = request.name(field)
                    return other.count == name.count && zip(other, name).allSatisfy { $0 == lowercase($1) }
                }
            default: request.remove(known)
            }
        }
        return true
    }

    private static func checkPath(_ stream: HTTPStream, _ manager: ConnectionManager) -> Bool {
        let request = stream.request
        if request.pathRange.isEmpty || request.method == .connect && !stream.flags.contains(.isUpgrade) {
            guard request.method != .connect else { return true }
            reject(stream, 404, "missing_path_rejected")
            return false
        }
        guard request.path[0] == UInt8(ascii: "/") else {
            stream.worker.stats(stream.manager).pointee.pathsNotRelative &+= 1
            reject(stream, 404, "absolute_path_rejected")
            return false
        }
        guard !request.path.contains(UInt8(ascii: "#")) else {
            reject(stream, 400, pathFailure)
            return false
        }
        var redirects = false
        if manager.options.escapedSlashes != .keep, PathHygiene.unescapeSlashes(request) {
            guard manager.options.escapedSlashes != .reject else {
                reject(stream, 400, pathFailure)
                return false
            }
            redirects = manager.options.escapedSlashes == .unescapeAndRedirect
        }
        if manager.options.normalizesPath, !PathHygiene.normalize(request) {
            reject(stream, 400, pathFailure)
            return false
        }
        if manager.options.mergesSlashes { PathHygiene.mergeSlashes(request) }
        guard redirects else { return true }
        stream.worker.stats(stream.manager).pointee.pathsRedirected &+= 1
        stream.requestIsWhole()
        stream.reply(
            307, body: UnsafeRawBufferPointer(start: nil, count: 0), details: "path_normalization_failed"
        ) { response in
            response.set(.location, request.path)
        }
        return false
    }

    private static func normalizeHost(_ stream: HTTPStream, _ manager: ConnectionManager) {
        let request = stream.request
        guard manager.options.stripsTrailingDot || manager.options.stripsAnyPort || manager.options.stripsMatchingPort
        else { return }
        if manager.options.stripsTrailingDot {
            let host = request.authority
            let port = Authority.portRange(host)
            let end = port.map { $0.lowerBound - 1 } ?? host.count
            if end > 0, host[end - 1] == UInt8(ascii: ".") {
                let range = request.append(
                    UnsafeRawBufferPointer(rebasing: host[..<(end - 1)]), UnsafeRawBufferPointer(rebasing: host[end...])
                )
                request.setAuthority(request.bytes(range))
            }
        }
        // A CONNECT is to a port (RFC 9110 §9.3.6).
        guard request.method != .connect, let port = Authority.portRange(request.authority) else { return }
        let host = request.authority
        if !manager.options.stripsAnyPort {
            guard manager.options.stripsMatchingPort, let local = stream.connection?.origin.local.port,
                UnsafeRawBufferPointer(rebasing: host[port]).decimal == Int64(local.rawValue)
            else { return }
        }
        request.setAuthority(UnsafeRawBufferPointer(rebasing: host[..<(port.lowerBound - 1)]))
    }

    // MARK: Who it is

    /// `x-forwarded-client-cert`
    private static func forwardCertificate(_ stream: HTTPStream, _ manager: ConnectionManager) {
        let request = stream.request
        guard manager.options.clientCertificate.mode != .sanitize, let connection = stream.connection else {
            request.remove(.xForwardedClientCert)
            return
        }
        let chain = connection.tlsPeer?.chain ?? []
        switch manager.options.clientCertificate.action(hasClientCertificate: !chain.isEmpty) {
        case .keep: break
        case .remove: request.remove(.xForwardedClientCert)
        case .set, .append:
            var element = connection.certificateElement(manager.options.clientCertificate, chain)
            let appends = manager.options.clientCertificate.mode == .appendForward
            element.withUTF8 { text in
                let text = UnsafeRawBufferPointer(text)
                if appends { request.join(.xForwardedClientCert, by: ",") }
                if appends, let index = request.find(.xForwardedClientCert) {
                    request.appendValue(at: index, ",", text)
                } else {
                    request.set(.xForwardedClientCert, text)
                }
            }
        }
    }

    /// False when the client was refused.
    private static func identify(_ stream: HTTPStream, _ manager: ConnectionManager) -> Bool {
        let request = stream.request
        guard let connection = stream.connection else { return true }
        let forwarded = joinForwarded(request)
        var identity = ClientIdentity(manager, peer: connection.origin.remote, forwarded: forwarded)
        if !manager.options.clientDetectors.isEmpty, !detect(&identity, stream, manager, forwarded) { return false }
        stream.routing.identity = identity
        if identity.appendsPeer { appendForwarded(request, connection.origin.remote) }
        let isSecure = connection.isSecure
        if manager.options.usesRemoteAddress {
            if !manager.options.skipsXFFAppend { appendForwarded(request, connection.origin.remote) }
            if manager.options.trustedHops == 0 || !request.has(.xForwardedProto) {
                request.set(.xForwardedProto, isSecure ? "https" : "http")
            }
        } else if !request.has(.xForwardedProto) {
            request.set(.xForwardedProto, isSecure ? "https" : "http")
        }
        if manager.options.appendsForwardedPort, let port = connection.origin.local.port {
            let key = Self.forwardedPort
            let overwrites = manager.options.usesRemoteAddress && manager.options.trustedHops == 0
            if overwrites || request.value(key) == nil { withDecimal(Int(port.rawValue)) { request.set(key, $0) } }
        }
        setScheme(request, manager, isSecure)
        removeReserved(stream, identity)
        if manager.options.addsUserAgent { setUserAgent(request, manager) }
        if !manager.options.via.isEmpty { appendVia(request, manager.options.via) }
        if identity.isInternal { request.set(Self.internalRequest, StaticString("true").bytes) }
        if identity.isEdge, let address = identity.remote?.address {
            withText(of: address) { request.set(.xEnvoyExternalAddress, $0) }
        }
        if manager.options.generatesRequestID {
            let present = request.value(.xRequestID).map { !$0.isEmpty } ?? false
            if !present || identity.isEdge && !manager.options.preservesExternalRequestID {
                RequestID.make(&stream.worker.random, on: request)
            }
        }
        return true
    }

    /// `original_ip_detection_extensions`; false when the client was refused.
    private static func detect(
        _ identity: inout ClientIdentity, _ stream: HTTPStream, _ manager: ConnectionManager,
        _ forwarded: UnsafeRawBufferPointer?
    ) -> Bool {
        let peer = stream.connection?.origin.directRemote ?? .unix(path: "")
        for detector in manager.options.clientDetectors {
            switch detector.detect(stream.request, peer: peer, forwarded: forwarded) {
            case .client(let address, let isTrusted, let appends):
                identity.adopt(address, isTrusted: isTrusted, appends: appends, manager)
                return true
            case .rejected(let status):
                stream.worker.stats(manager).pointee.clientsNotDetected &+= 1
                stream.requestIsWhole()
                stream.reply(
                    status, body: UnsafeRawBufferPointer(start: nil, count: 0),
                    details: "rejecting_because_detection_failed")
                return false
            case .unknown(let appends): identity.appendsPeer = identity.appendsPeer || appends
            }
        }
        return true
    }

    private static let forwardedPort = HeaderKey("x-forwarded-port")
    static let internalRequest = HeaderKey("x-envoy-internal")
    private static let downstreamCluster = HeaderKey("x-envoy-downstream-service-cluster")
    private static let downstreamNode = HeaderKey("x-envoy-downstream-service-node")

    /// Several fields become one list; nil without any.
    private static func joinForwarded(_ request: HeaderBlock) -> UnsafeRawBufferPointer? {
        guard let first = request.find(.xForwardedFor) else { return nil }
        while let next = (first + 1..<request.count).first(where: { request.fields[$0].name == .xForwardedFor }) {
            request.appendValue(at: first, ",", request.value(request.fields[next]))
            request.remove(at: next)
        }
        return request.value(request.fields[first])
    }

    static func appendForwarded(_ request: HeaderBlock, _ peer: SocketAddress) {
        guard let address = peer.address else { return }
        func append(_ text: UnsafeRawBufferPointer) {
            if let index = request.find(.xForwardedFor) {
                request.appendValue(at: index, ",", text)
            } else {
                request.add(.xForwardedFor, text)
            }
        }
        if address.isTheLoopback {
            ClientIdentity.localAddress.withUnsafeBytes(append)
        } else {
            withText(of: address, append)
        }
    }

    private static func withText(of address: IPAddress, _ body: (UnsafeRawBufferPointer) -> Void) {
        // Small enough to stay on the stack: an address has 45 letters at most.
        var text = "\(address)"
        text.withUTF8 { body(UnsafeRawBufferPointer($0)) }
    }

    private static func setScheme(_ request: HeaderBlock, _ manager: ConnectionManager, _ isSecure: Bool) {
        if !manager.options.scheme.isEmpty {
            manager.options.scheme.withUnsafeBytes {
                request.setScheme($0)
                request.set(.xForwardedProto, $0)
            }
        } else if request.schemeRange.isEmpty {
            if let forwarded = request.value(.xForwardedProto) {
                if equalsIgnoringCase(forwarded, "https") { return request.setScheme("https") }
                if equalsIgnoringCase(forwarded, "http") { return request.setScheme("http") }
            }
            request.setScheme(isSecure ? "https" : "http")
        }
    }

    /// What only one of our own proxies may say.
    private static func removeReserved(_ stream: HTTPStream, _ identity: ClientIdentity) {
        let request = stream.request
        if request.hasEnvoyFields { removeReserved(request, identity) }
        guard !identity.isInternal, let table = stream.worker.routes(stream.manager.routes) else { return }
        for key in table.options.internalOnlyHeaders { request.remove(key) }
    }

    private static func removeReserved(_ request: HeaderBlock, _ identity: ClientIdentity) {
        let prefix: StaticString = "x-envoy-"
        request.removeAll { field in
            guard field.name == .other || field.name == .xEnvoyDecoratorOperation else { return false }
            let name = request.name(field)
            guard name.count > prefix.utf8CodeUnitCount, name.starts(with: prefix.bytes) else { return false }
            let rest = UnsafeRawBufferPointer(rebasing: name[prefix.utf8CodeUnitCount...])
            if rest.elementsEqual(StaticString("internal").bytes) { return true }
            guard !identity.isInternal else { return false }
            for reserved in Self.reserved where rest.elementsEqual(reserved.bytes) { return true }
            guard identity.isEdge else { return false }
            for reserved in Self.reservedAtEdge where rest.elementsEqual(reserved.bytes) { return true }
            return false
        }
    }

    private static let reserved: [StaticString] = [
        "retriable-status-codes", "retriable-header-names", "retry-on", "retry-grpc-on", "max-retries",
        "upstream-alt-stat-name", "upstream-rq-timeout-ms", "upstream-rq-per-try-timeout-ms",
        "upstream-rq-timeout-alt-response", "expected-rq-timeout-ms", "force-trace", "ip-tags", "original-url",
        "hedge-on-per-try-timeout",
    ]
    private static let reservedAtEdge: [StaticString] = [
        "decorator-operation", "downstream-service-cluster", "downstream-service-node", "original-path",
    ]

    private static func setUserAgent(_ request: HeaderBlock, _ manager: ConnectionManager) {
        manager.options.serviceCluster.withUnsafeBytes { name in
            request.set(downstreamCluster, name)
            if request.value(.userAgent)?.isEmpty ?? true { request.set(.userAgent, name) }
        }
        if !manager.options.nodeName.isEmpty {
            manager.options.nodeName.withUnsafeBytes { request.set(downstreamNode, $0) }
        }
    }

    static func appendVia(_ block: HeaderBlock, _ via: [UInt8]) {
        via.withUnsafeBytes { via in
            if let index = block.find(.via) {
                block.appendValue(at: index, ", ", via)
            } else {
                block.add(.via, via)
            }
        }
    }

    /// A `TE` that names trailers.
    private static func acceptsTrailers(_ value: UnsafeRawBufferPointer) -> Bool {
        value.split(separator: UInt8(ascii: ",")).contains {
            equalsIgnoringCase($0.trimmed, "trailers")
        }
    }

    /// RFC 9110 §7.6.1. Of what `TE` lists trailers alone go on.
    static func removeHopByHop(_ block: HeaderBlock, keepsUpgrade: Bool) {
        var listsMore = false
        block.removeAll { field in
            switch field.name {
            case .keepAlive, .proxyConnection, .transferEncoding, .http2Settings: return true
            case .connection, .upgrade: return !keepsUpgrade
            case .te:
                let value = block.value(field)
                if equalsIgnoringCase(value, "trailers") { return false }
                listsMore = acceptsTrailers(value)
                return !listsMore
            case .host: return true
            default: return false
            }
        }
        if listsMore { block.set(.te, StaticString("trailers").bytes) }
    }
}
