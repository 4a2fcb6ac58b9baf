import Bytes
import HTTP
import Protobuf
import Reactor
import TLS

/// A stream's spans: its own, and one after the other those of its attempts. There is one where a tracer is configured, also for
/// requests that are not sampled: upstreams are told so.
final class StreamTrace {
    let tracing: Tracing
    private let export: TraceExport
    let context: TraceContext
    /// The caller's span; 0 for none.
    let parent: UInt64
    /// `tracestate`, as it came.
    let state: [UInt8]
    /// Of a copy of a request (`request_mirror_policies`): there is no span but that of its attempt.
    private let isCopy: Bool
    /// What somebody calls the operation; empty for nobody.
    private var operation: [UInt8] = []
    /// The route's name for it, which the client is told.
    private var tellsClient: RouteEntry?

    /// Of the present attempt.
    private struct Attempt {
        var context: TraceContext
        var began: UInt64
        var number: Int
        var failure: StreamReset?
    }
    private var attempt: Attempt?

    /// nil when the request came with a context that nobody can read: that is passed on as it is.
    init?(_ tracing: Tracing, _ export: TraceExport, _ stream: HTTPStream, isTraced: Bool) {
        isCopy = false
        self.tracing = tracing
        self.export = export
        let request = stream.request
        var context: TraceContext
        if let text = request.value(.traceparent) {
            guard let caller = TraceContext(text) else { return nil }
            parent = caller.span
            context = caller.child(&stream.worker.random)
            state = Self.joined(.tracestate, of: request)
        } else {
            parent = 0
            context = TraceContext(&stream.worker.random)
            state = []
        }
        context.isSampled = isTraced && export.settings.sampler.samples(context, hasParent: parent != 0)
        self.context = context
        name(stream)
    }

    /// Of a copy: its span is under that of the request.
    init(copyOf original: StreamTrace, isSampled: Bool) {
        (tracing, export, parent, state) = (original.tracing, original.export, original.parent, original.state)
        var context = original.context
        context.isSampled = context.isSampled && isSampled
        self.context = context
        isCopy = true
    }

    private static func joined(_ name: HeaderName, of block: HeaderBlock) -> [UInt8] {
        var joined: [UInt8] = []
        for index in 0..<block.count where block.fields[index].name == name {
            if !joined.isEmpty { joined.append(UInt8(ascii: ",")) }
            joined += block.value(block.fields[index])
        }
        return joined
    }

    // MARK: What it is called

    /// The name that configuration, the route or the caller have for it; callers are believed, and callees told.
    private func name(_ stream: HTTPStream) {
        let route = stream.route
        if let template = route?.tracing?.operation ?? tracing.options.operation {
            operation = Self.render(template, stream)
            return
        }
        if let route, !route.operation.isEmpty {
            operation = Array(route.operation.utf8)
            if tracing.options.isEgress {
                if route.propagatesOperation {
                    operation.withUnsafeBytes { stream.request.set(.xEnvoyDecoratorOperation, $0) }
                }
            } else if route.propagatesOperation {
                tellsClient = route
            }
        }
        guard !tracing.options.isEgress, let told = stream.request.value(.xEnvoyDecoratorOperation) else { return }
        if !told.isEmpty {
            operation = Array(told)
            tellsClient = nil
        }
        stream.request.remove(.xEnvoyDecoratorOperation)
    }

    /// The response's head is about to leave.
    func decorate(_ response: HeaderBlock) {
        if let tellsClient {
            var name = tellsClient.operation
            name.withUTF8 { response.set(.xEnvoyDecoratorOperation, UnsafeRawBufferPointer($0)) }
        }
        guard tracing.options.isEgress, let told = response.value(.xEnvoyDecoratorOperation) else { return }
        if !told.isEmpty { operation = Array(told) }
        response.remove(.xEnvoyDecoratorOperation)
    }

    private static func render(_ template: Template, _ stream: HTTPStream) -> [UInt8] {
        var text = GrowingBytes()
        template.render(stream, into: &text)
        defer { text.deallocate() }
        return Array(text.bytes)
    }

    // MARK: Attempts

    /// The request is about to go to a host: tells it the span that it is in.
    func attemptBegins(_ stream: HTTPStream) {
        var told = context
        if tracing.options.spansAttempts || isCopy {
            told = context.child(&stream.worker.random)
            attempt = Attempt(context: told, began: stream.worker.now, number: stream.attempts)
        }
        guard tracing.options.propagates || isCopy else { return }
        told.withText { stream.request.set(.traceparent, $0) }
        state.withUnsafeBytes { stream.request.set(.tracestate, $0) }
    }

    func attemptFailed(_ reason: StreamReset) { attempt?.failure = reason }

    /// The stream lets go of its attempt.
    func attemptEnded(_ stream: HTTPStream, _ upstream: UpstreamAttempt) {
        guard let attempt else { return }
        self.attempt = nil
        guard context.isSampled else { return }
        let exporter = stream.worker.exporter(export)
        guard exporter.mayTake() else { return }
        // Of a copy that was lost, its own client, which is the proxy, is answered so.
        let status = upstream.hasHead ? stream.response.status : isCopy && attempt.failure != nil ? 503 : 0
        let clock = WallClock(stream.worker)
        let isError = Self.isError(.client, status, upstream.hasHead ? grpcStatus(stream) : nil)
        exporter.take { buffer in
            let mark = buffer.count
            Span.prependStatus(isError: isError, to: &buffer)
            if tracing.options.isVerbose, !isCopy { prependUpstreamEvents(stream, clock, to: &buffer) }
            if !isCopy { prependTags(stream, to: &buffer) }
            if attempt.failure == nil, status >= 500 { Span.prepend("error", "true", to: &buffer) }
            Span.prepend("response_flags", attempt.failure?.flag ?? "-", to: &buffer)
            Span.prepend("http.status_code", decimal: status, to: &buffer)
            prependCluster(stream, to: &buffer)
            Span.prepend("component", "proxy", to: &buffer)
            if upstream.hasHead { prependGRPCStatus(stream, to: &buffer) }
            if let remote = stream.upstream.remote {
                var text = "\(remote)"
                text.withUTF8 { text in
                    Span.prepend("peer.address", UnsafeRawBufferPointer(text), to: &buffer)
                    Span.prepend("upstream_address", UnsafeRawBufferPointer(text), to: &buffer)
                }
            }
            Span.prepend(
                "http.protocol", isCopy ? "HTTP/1.1" : stream.upstream.version?.text ?? "-", to: &buffer)
            if isCopy, attempt.failure != nil {
                Span.prepend("error", "true", to: &buffer)
            } else if let failure = attempt.failure {
                Span.prepend("error.reason", UpstreamFailure(reason: failure).words, to: &buffer)
                Span.prepend("error", "true", to: &buffer)
            } else if isCopy ? !upstream.hasHead : isCanceled(stream) {
                Span.prepend("canceled", "true", to: &buffer)
            }
            if attempt.number > 1 { Span.prepend("retry.count", decimal: attempt.number - 1, to: &buffer) }
            let name = attemptName(stream)
            let facts = Span.Facts(
                context: attempt.context, parent: context.span, parentIsRemote: false, kind: .client,
                began: clock.at(attempt.began), ended: clock.now, isError: isError)
            name.withUnsafeBytes { name in
                state.withUnsafeBytes { Span.close(facts, name: name, state: $0, since: mark, &buffer) }
            }
        }
    }

    private func isCanceled(_ stream: HTTPStream) -> Bool {
        !stream.flags.contains(.responseEnded) || stream.flags.contains(.isLocalReply)
    }

    private func attemptName(_ stream: HTTPStream) -> [UInt8] {
        if isCopy { return Array("mirror".utf8) }
        let template = stream.route?.tracing?.attemptOperation ?? tracing.options.attemptOperation
        return template.map { Self.render($0, stream) } ?? Array("router \(stream.clusterName ?? "-") egress".utf8)
    }

    // MARK: The end

    /// The stream is over.
    func end(_ stream: HTTPStream) {
        guard context.isSampled else { return }
        let exporter = stream.worker.exporter(export)
        guard exporter.mayTake() else { return }
        let clock = WallClock(stream.worker)
        let status = stream.response.status
        let kind: Span.Kind = tracing.options.isEgress && !tracing.options.spansAttempts ? .client : .server
        let isError = Self.isError(kind, status, grpcStatus(stream))
        exporter.take { buffer in
            let mark = buffer.count
            Span.prependStatus(isError: isError, to: &buffer)
            if tracing.options.isVerbose { prependEvents(stream, clock, to: &buffer) }
            prependTags(stream, to: &buffer)
            if status == 0 || status >= 500 { Span.prepend("error", "true", to: &buffer) }
            var flags = GrowingBytes()
            if !Operator.responseFlags.render(stream, into: &flags) { flags.append("-") }
            Span.prepend("response_flags", flags.bytes, to: &buffer)
            flags.deallocate()
            Span.prepend("http.status_code", decimal: status, to: &buffer)
            prependCluster(stream, to: &buffer)
            Span.prepend("component", "proxy", to: &buffer)
            Span.prepend("response_size", decimal: Int(stream.responseBytes), to: &buffer)
            Span.prepend("request_size", decimal: Int(stream.requestBytes), to: &buffer)
            prependGRPCStatus(stream, to: &buffer)
            prependRequest(stream, to: &buffer)
            let facts = Span.Facts(
                context: context, parent: parent, parentIsRemote: parent != 0,
                kind: kind, began: clock.at(stream.began), ended: clock.now, isError: isError)
            state.withUnsafeBytes { state in
                withName(stream) { Span.close(facts, name: $0, state: state, since: mark, &buffer) }
            }
        }
    }

    /// OpenTelemetry's conventions: a client's span failed also when the client was to blame.
    private static func isError(_ kind: Span.Kind, _ status: Int, _ grpc: Int?) -> Bool {
        if status >= (kind == .client ? 400 : 500) { return true }
        guard let grpc, grpc != 0 else { return false }
        return kind == .client || [2, 4, 12, 13, 14, 15].contains(grpc)
    }

    private func grpcStatus(_ stream: HTTPStream) -> Int? {
        guard stream.isGRPC else { return nil }
        return (stream.trailers?.value(.grpcStatus) ?? stream.response.value(.grpcStatus))?.decimal.map { Int($0) }
    }

    private func withName(_ stream: HTTPStream, _ body: (UnsafeRawBufferPointer) -> Void) {
        if !operation.isEmpty { return operation.withUnsafeBytes(body) }
        guard tracing.options.isEgress else { return body(StaticString("ingress").bytes) }
        var name = GrowingBytes()
        name.append("egress ")
        name.append(stream.request.authority)
        body(name.bytes)
        name.deallocate()
    }

    private func prependRequest(_ stream: HTTPStream, to buffer: inout ReverseBuffer) {
        let request = stream.request
        let dash = StaticString("-").bytes
        if stream.isGRPC {
            if let value = request.value(.grpcTimeout) { Span.prepend("grpc.timeout", value, to: &buffer) }
            if let value = request.value(.contentType) { Span.prepend("grpc.content_type", value, to: &buffer) }
            Span.prepend("grpc.authority", request.authority, to: &buffer)
            Span.prepend("grpc.path", request.path, to: &buffer)
        }
        if let value = request.value(Self.clientTrace) { Span.prepend("guid:x-client-trace-id", value, to: &buffer) }
        if let peer = stream.origin?.directRemote {
            var text = peer.address.map { "\($0)" } ?? "\(peer)"
            text.withUTF8 { Span.prepend("peer.address", UnsafeRawBufferPointer($0), to: &buffer) }
        }
        Span.prepend("http.protocol", stream.version?.text ?? "-", to: &buffer)
        Span.prepend("user_agent", request.value(.userAgent) ?? dash, to: &buffer)
        Span.prepend("downstream_cluster", request.value(Self.downstreamCluster) ?? dash, to: &buffer)
        Span.prepend("http.method", request.methodText, to: &buffer)
        prependURL(request, to: &buffer)
        if let id = request.value(.xRequestID) { Span.prepend("guid:x-request-id", id, to: &buffer) }
        tracing.options.zone.withUnsafeBytes { Span.prepend("zone", $0, to: &buffer) }
        tracing.options.node.withUnsafeBytes { Span.prepend("node_id", $0, to: &buffer) }
    }

    private func prependURL(_ request: HeaderBlock, to buffer: inout ReverseBuffer) {
        let path = request.value(HeaderKey.envoyOriginalPath) ?? request.path
        let mark = buffer.count
        buffer.prepend(UnsafeRawBufferPointer(rebasing: path.prefix(tracing.options.maximumPathLength)))
        buffer.prepend(request.authority)
        buffer.prepend(StaticString("://").bytes)
        buffer.prepend(request.scheme)
        buffer.close(field: 1, since: mark)
        buffer.close(field: 2, since: mark)
        buffer.prepend(field: 1, bytes: StaticString("http.url").bytes)
        buffer.close(field: 9, since: mark)
    }

    private func prependCluster(_ stream: HTTPStream, to buffer: inout ReverseBuffer) {
        guard let cluster = stream.cluster, var name = stream.clusterName else { return }
        var told = cluster.settings.options.statName.isEmpty ? name : cluster.settings.options.statName
        told.withUTF8 { Span.prepend("upstream_cluster.name", UnsafeRawBufferPointer($0), to: &buffer) }
        name.withUTF8 { Span.prepend("upstream_cluster", UnsafeRawBufferPointer($0), to: &buffer) }
    }

    private func prependGRPCStatus(_ stream: HTTPStream, to buffer: inout ReverseBuffer) {
        guard stream.isGRPC else { return }
        for (name, tag) in [(HeaderName.grpcMessage, StaticString("grpc.message")), (.grpcStatus, "grpc.status_code")] {
            guard let value = stream.trailers?.value(name) ?? stream.response.value(name) else { continue }
            Span.prepend(tag, value, to: &buffer)
        }
    }

    /// What configuration adds: the route's tags stand for the manager's of the same name.
    private func prependTags(_ stream: HTTPStream, to buffer: inout ReverseBuffer) {
        let ofRoute = stream.route?.tracing?.tags ?? []
        for tag in tracing.options.tags.reversed() where !ofRoute.contains(where: { $0.name == tag.name }) {
            prepend(tag, stream, to: &buffer)
        }
        for tag in ofRoute.reversed() { prepend(tag, stream, to: &buffer) }
    }

    private func prepend(_ tag: CustomTag, _ stream: HTTPStream, to buffer: inout ReverseBuffer) {
        var value = GrowingBytes()
        defer { value.deallocate() }
        guard tag.render(stream, into: &value) else { return }
        tag.name.withUnsafeBytes { Span.prepend($0, value.bytes, as: tag.type, to: &buffer) }
    }

    private func prependEvents(_ stream: HTTPStream, _ clock: WallClock, to buffer: inout ReverseBuffer) {
        for (name, moment) in Self.downstreamEvents.reversed() {
            if let at = stream.moment(moment) { Span.prepend(event: name, at: clock.at(at), to: &buffer) }
        }
        prependUpstreamEvents(stream, clock, to: &buffer)
        if let at = stream.moment(.downstreamEnd) {
            Span.prepend(event: "last_downstream_rx_byte_received", at: clock.at(at), to: &buffer)
        }
    }

    private func prependUpstreamEvents(_ stream: HTTPStream, _ clock: WallClock, to buffer: inout ReverseBuffer) {
        for (name, moment) in Self.upstreamEvents.reversed() {
            if let at = stream.moment(moment) { Span.prepend(event: name, at: clock.at(at), to: &buffer) }
        }
    }

    private static let upstreamEvents: [(StaticString, StreamMoment)] = [
        ("first_upstream_tx_byte_sent", .upstreamSendBegin), ("last_upstream_tx_byte_sent", .upstreamSendEnd),
        ("first_upstream_rx_byte_received", .upstreamBegin), ("last_upstream_rx_byte_received", .upstreamEnd),
    ]
    private static let downstreamEvents: [(StaticString, StreamMoment)] = [
        ("first_downstream_tx_byte_sent", .sendBegin), ("last_downstream_tx_byte_sent", .sendEnd),
    ]
    private static let clientTrace = HeaderKey("x-client-trace-id")
    private static let downstreamCluster = HeaderKey("x-envoy-downstream-service-cluster")
}

/// Translates moments of the monotonic clock.
private struct WallClock {
    /// Nanoseconds since 1970.
    let now: UInt64
    private let monotonic: UInt64

    init(_ worker: ProxyWorker) {
        let time = Timestamp.now()
        now = UInt64(time.seconds) &* 1_000_000_000 &+ UInt64(time.nanoseconds)
        monotonic = MonotonicTime.now().nanoseconds
    }

    func at(_ moment: UInt64) -> UInt64 { now &- (monotonic &- moment) }
}

extension StreamReset {
    /// The response flag of an attempt that ended so.
    fileprivate var flag: StaticString {
        switch self {
        case .overflow: "UO"
        case .connectionFailure, .connectTimeout: "UF"
        case .connectionTermination: "UC"
        case .remoteReset, .refused: "UR"
        case .protocolError: "UPE"
        case .localReset: "LR"
        }
    }
}
