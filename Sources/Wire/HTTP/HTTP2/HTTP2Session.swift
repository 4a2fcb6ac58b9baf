import CNghttp2
import TLS

/// What a session tells the connection that drives it. Called from within `receive`, on the connection's loop.
package protocol HTTP2SessionDelegate: AnyObject {
    /// A head is complete; it is valid during the call. A server sees requests, a client responses (also 1xx).
    func http2(head: MessageHead, of stream: HTTP2Stream, endsStream: Bool)
    func http2(data: UnsafeRawBufferPointer, of stream: HTTP2Stream)
    /// The peer has sent all it will on this stream; after `head` or `data`.
    func http2(endOf stream: HTTP2Stream, trailers: HTTPHeaders)
    /// Queued output of the stream has gone below the low-water mark.
    func http2(drained stream: HTTP2Stream)
    /// The stream is gone; `code` is an HTTP/2 error code, 0 for a proper end. The last call for this stream.
    func http2(closed stream: HTTP2Stream, code: UInt32)
    /// The peer will take no stream above `last`.
    func http2(goAway last: Int32, code: UInt32)
}

/// One request and its response on an HTTP/2 connection.
package final class HTTP2Stream {
    package fileprivate(set) var id: Int32
    /// Bytes that wait for the peer's window.
    fileprivate(set) var output = GrowingBytes()
    /// Bytes behind these that are sent from where they stand; only within `HTTP2Session.write(_:to:flush:)`.
    fileprivate var borrowed = UnsafeRawBufferPointer(start: nil, count: 0)
    /// Its place in `HTTP2Session.streams`.
    fileprivate var index = 0
    fileprivate var isFinished = false
    fileprivate var isDeferred = false
    fileprivate var trailers = HTTPHeaders()
    fileprivate var incomingTrailers: HTTPHeaders?
    fileprivate var hasHead = false
    package fileprivate(set) var isAboveHighWater = false
    /// Body bytes that came when nobody wanted them any more.
    var discarded = 0
    /// What the connection attaches: the exchange or the request in flight.
    package var owner: AnyObject?

    fileprivate init(id: Int32) { self.id = id }
    deinit { output.deallocate() }

    fileprivate var waiting: Int { output.count &+ borrowed.count }

    /// Moves the first bytes that wait to the end of `frames`.
    fileprivate func take(_ count: Int, into frames: inout GrowingBytes) {
        let queued = min(count, output.count)
        if queued > 0 {
            frames.append(UnsafeRawBufferPointer(rebasing: output.bytes[..<queued]))
            output.removeFirst(queued)
        }
        guard queued < count else { return }
        frames.append(UnsafeRawBufferPointer(rebasing: borrowed[..<(count &- queued)]))
        borrowed = UnsafeRawBufferPointer(rebasing: borrowed[(count &- queued)...])
    }

    /// What nghttp2 hands back with every event of the stream. The session holds the stream while nghttp2 does.
    fileprivate var handle: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

    fileprivate static func at(_ handle: UnsafeMutableRawPointer) -> HTTP2Stream {
        Unmanaged<HTTP2Stream>.fromOpaque(handle).takeUnretainedValue()
    }
}

/// HTTP/2 framing, HPACK, flow control and the rules of streams, over nghttp2. No I/O: bytes are given to `receive` and taken
/// from `sendOutput`. Belongs to one loop.
///
/// Windows are opened only by `consumed`, so a slow consumer stops the peer, not our memory.
package final class HTTP2Session {
    package enum Role { case client, server }

    package let role: Role
    private let limits: HTTPLimits
    private unowned(unsafe) let delegate: any HTTP2SessionDelegate
    private var raw: OpaquePointer?
    /// The peer has told its limits; until then a client does not know how many streams it may open.
    package fileprivate(set) var hasPeerSettings = false
    /// In no order.
    package private(set) var streams: [HTTP2Stream] = []
    /// Frames on their way to `sendOutput`'s caller.
    private var frames = GrowingBytes()
    private var isSending = false
    private var isReceiving = false
    /// The head being received; header blocks of one connection never interleave, so one place suffices. Empty between heads.
    private var block = GrowingBytes()
    private var head: MessageHead?
    private var headIsTooLarge = false
    /// Control frames of the peer in the second that began at `rateSecond`.
    private var controlFrames = 0
    private var rateSecond: Int64 = 0
    private var now: Int64 = 0
    private var violation: String?
    private let makeHead: () -> MessageHead
    private let faults: FaultPolicy
    /// `receive` has thrown because of a malformed message: there is nothing more to say, not even a GOAWAY.
    package private(set) var isMalformed = false

    /// How a server takes messages that are not as they must be.
    package struct FaultPolicy: OptionSet, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }
        /// A malformed message ends the connection, where otherwise it ends its stream (RFC 9113 §8.1.1 allows both).
        package static let malformedEndsConnection = FaultPolicy(rawValue: 1)
        /// A header block that is too large ends its stream, where otherwise it is answered with 431.
        package static let largeHeadEndsStream = FaultPolicy(rawValue: 2)
    }

    /// - Parameter scratchHead: where heads are parsed into; may be shared by all connections of a loop.
    /// - Parameter allowsConnect: takes extended CONNECT (RFC 8441); servers only.
    package init(
        _ role: Role, limits: HTTPLimits, allowsConnect: Bool = false, faults: FaultPolicy = [],
        scratchHead: @escaping () -> MessageHead, delegate: any HTTP2SessionDelegate
    ) throws(HTTPError) {
        self.role = role
        self.limits = limits
        self.delegate = delegate
        makeHead = scratchHead
        self.faults = faults
        var option: OpaquePointer?
        guard nghttp2_option_new(&option) == 0, let option else { throw HTTPError(.limit, "no memory for HTTP/2") }
        defer { nghttp2_option_del(option) }
        nghttp2_option_set_no_auto_window_update(option, 1)
        // Closed streams are forgotten at once instead of being kept for priorities, which nobody uses.
        nghttp2_option_set_no_closed_streams(option, 1)
        nghttp2_option_set_max_outbound_ack(option, 64)
        nghttp2_option_set_stream_reset_rate_limit(option, 1000, UInt64(max(limits.controlFramesPerSecond, 1)))
        let user = Unmanaged.passUnretained(self).toOpaque()
        var memory = weft_nghttp2_memory()
        let made =
            switch role {
            case .server: nghttp2_session_server_new3(&raw, SessionCallbacks.shared.raw, user, option, &memory)
            case .client: nghttp2_session_client_new3(&raw, SessionCallbacks.shared.raw, user, option, &memory)
            }
        guard made == 0 else { throw HTTPError(.limit, "no memory for HTTP/2") }
        try sendPreface(allowsConnect: allowsConnect)
    }

    deinit {
        nghttp2_session_del(raw)
        block.deallocate()
    }

    private func sendPreface(allowsConnect: Bool) throws(HTTPError) {
        func entry(_ id: nghttp2_settings_id, _ value: Int) -> nghttp2_settings_entry {
            nghttp2_settings_entry(settings_id: Int32(id.rawValue), value: UInt32(clamping: value))
        }
        var settings = [
            entry(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.streamWindow),
            entry(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.headerBytes),
        ]
        switch role {
        case .server:
            settings.append(entry(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.concurrentStreams))
            if allowsConnect { settings.append(entry(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1)) }
        case .client: settings.append(entry(NGHTTP2_SETTINGS_ENABLE_PUSH, 0))
        }
        let submitted = nghttp2_submit_settings(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), settings, settings.count)
        guard submitted == 0 else { throw failure(submitted, "cannot send settings") }
        let window = Int32(clamping: limits.connectionWindow)
        let opened = nghttp2_session_set_local_window_size(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, window)
        guard opened == 0 else { throw failure(opened, "cannot open the window") }
    }

    // MARK: Input and output

    /// Takes bytes from the peer. `now` in seconds is the clock of the flood limits.
    ///
    /// - Throws: the connection is beyond repair; send the output (a GOAWAY says why) and close.
    package func receive(_ bytes: UnsafeRawBufferPointer, now: Int64) throws(HTTPError) {
        self.now = now
        guard let base = bytes.baseAddress else { return }
        isReceiving = true
        defer { isReceiving = false }
        let taken = nghttp2_session_mem_recv(raw, base.assumingMemoryBound(to: UInt8.self), bytes.count)
        if let violation {
            nghttp2_session_terminate_session(raw, NGHTTP2_ENHANCE_YOUR_CALM.rawValue)
            throw HTTPError(.limit, violation)
        }
        guard taken == bytes.count else { throw failure(Int32(clamping: taken), "the peer broke HTTP/2") }
    }

    /// Hands the frames that are ready for the peer to `send`, gathered up to `gatheredBytes`, until there are none or it
    /// returns false (enough for now). `memory` is where they are gathered; it is the caller's again afterwards.
    package func sendOutput(
        using memory: inout GrowingBytes, _ send: (UnsafeRawBufferPointer) -> Bool
    ) throws(HTTPError) {
        // From one of its own callbacks: the loop below goes on until all is sent.
        guard !isSending else { return }
        isSending = true
        swap(&frames, &memory)
        defer {
            swap(&frames, &memory)
            isSending = false
        }
        while true {
            var bytes: UnsafePointer<UInt8>?
            let count = nghttp2_session_mem_send(raw, &bytes)
            if count > 0 { frames.append(UnsafeRawBufferPointer(start: bytes, count: count)) }
            let isFull = frames.count >= Self.gatheredBytes
            guard count <= 0 || isFull else { continue }
            let goesOn = frames.isEmpty || send(frames.bytes)
            frames.clear()
            guard count >= 0 else { throw failure(Int32(clamping: count), "cannot frame output") }
            guard isFull, goesOn else { return }
        }
    }
    private static let gatheredBytes = 64 << 10
    /// RFC 9113 §4.1.
    fileprivate static let frameHeaderBytes = 9

    /// Nothing more will be read or written: both sides are done, or GOAWAY went either way and no stream is left.
    package var isFinished: Bool { nghttp2_session_want_read(raw) == 0 && nghttp2_session_want_write(raw) == 0 }

    /// A new stream of ours would be taken by the peer.
    package var canOpenStream: Bool {
        nghttp2_session_check_request_allowed(raw) != 0
            && streams.count < Int(nghttp2_session_get_remote_settings(raw, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
    }

    /// The consumer is done with `count` bytes of body: opens the peer's windows again.
    package func consumed(_ count: Int, of stream: HTTP2Stream) { nghttp2_session_consume(raw, stream.id, count) }

    /// As `consumed`, for bytes of a stream that is closed already: only the connection's window opens.
    package func consumedAfterClose(_ count: Int) { nghttp2_session_consume_connection(raw, count) }

    // MARK: Messages

    /// Opens a stream. `finished` says that no body follows.
    func request(
        _ method: String, _ target: String, scheme: StaticString, authority: String, headers: HTTPHeaders,
        finished: Bool
    ) throws(HTTPError) -> HTTP2Stream {
        var fields = HTTP2Fields()
        defer { fields.deallocate() }
        fields.add(":method", method)
        fields.add(":scheme", scheme)
        fields.add(":authority", authority)
        fields.add(":path", target)
        fields.add(headers)
        return try open(fields, finished: finished)
    }

    /// A final response's head, or with `finished` the whole response. An informational one (1xx) may come before.
    func respond(_ stream: HTTP2Stream, status: Int, headers: HTTPHeaders, finished: Bool, date: String? = nil) {
        var fields = HTTP2Fields()
        defer { fields.deallocate() }
        fields.add(":status", String(status))
        if let date { fields.add("date", date) }
        fields.add(headers)
        stream.isFinished = stream.isFinished || finished
        _ = fields.withValues { values, count in
            if status < 200 {
                return nghttp2_submit_headers(
                    raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, nil, values, count, nil)
            }
            guard !finished else { return nghttp2_submit_response(raw, stream.id, values, count, nil) }
            var provider = provider(stream)
            return nghttp2_submit_response(raw, stream.id, values, count, &provider)
        }
    }

    /// Opens a stream with these fields, pseudo-header fields first. `finished` says that no body follows.
    package func open(_ fields: borrowing HTTP2Fields, finished: Bool) throws(HTTPError) -> HTTP2Stream {
        let stream = HTTP2Stream(id: 0)
        let id = fields.withValues { values, count in
            guard !finished else { return nghttp2_submit_request(raw, nil, values, count, nil, stream.handle) }
            var provider = provider(stream)
            return nghttp2_submit_request(raw, nil, values, count, &provider, stream.handle)
        }
        guard id > 0 else { throw failure(id, "cannot open a stream", retrySafe: true) }
        stream.id = id
        stream.isFinished = finished
        hold(stream)
        return stream
    }

    private func provider(_ stream: HTTP2Stream) -> nghttp2_data_provider {
        nghttp2_data_provider(source: nghttp2_data_source(ptr: stream.handle), read_callback: readStreamOutput)
    }

    private func hold(_ stream: HTTP2Stream) {
        stream.index = streams.count
        streams.append(stream)
    }

    private func letGo(_ stream: HTTP2Stream) {
        let last = streams.count - 1
        streams.swapAt(stream.index, last)
        streams[stream.index].index = stream.index
        streams.removeLast()
    }

    private func stream(_ id: Int32) -> HTTP2Stream? {
        nghttp2_session_get_stream_user_data(raw, id).map(HTTP2Stream.at)
    }

    /// Answers with these fields, `:status` first; below 200 another head follows.
    package func respond(_ stream: HTTP2Stream, _ fields: borrowing HTTP2Fields, isFinal: Bool, finished: Bool) {
        stream.isFinished = stream.isFinished || finished
        _ = fields.withValues { values, count in
            guard isFinal else {
                return nghttp2_submit_headers(
                    raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, nil, values, count, nil)
            }
            guard !finished else { return nghttp2_submit_response(raw, stream.id, values, count, nil) }
            var provider = provider(stream)
            return nghttp2_submit_response(raw, stream.id, values, count, &provider)
        }
    }

    /// Queues body bytes.
    package func write(_ bytes: UnsafeRawBufferPointer, to stream: HTTP2Stream) {
        stream.output.append(bytes)
        if stream.output.count >= limits.writeHighWater { stream.isAboveHighWater = true }
        resume(stream)
    }

    /// As above for a large piece that is not the last. `flush` is to call `sendOutput`, which sends the bytes from where they
    /// stand; only what the peer's window or the socket does not take now is copied.
    package func write(_ bytes: UnsafeRawBufferPointer, to stream: HTTP2Stream, flush: () -> Void) {
        guard !isSending, !isReceiving, stream.output.isEmpty, bytes.count >= Self.borrowedBytes else {
            return write(bytes, to: stream)
        }
        stream.borrowed = bytes
        resume(stream)
        flush()
        let rest = stream.borrowed
        stream.borrowed = UnsafeRawBufferPointer(start: nil, count: 0)
        if !rest.isEmpty { write(rest, to: stream) }
    }
    /// Smaller pieces of several streams are worth gathering into one system call.
    private static let borrowedBytes = 8 << 10

    /// Ends our side of the stream once the queue is sent.
    package func finish(_ stream: HTTP2Stream, trailers: HTTPHeaders = HTTPHeaders()) {
        guard !stream.isFinished else { return }
        stream.isFinished = true
        stream.trailers = trailers
        resume(stream)
    }

    /// Why a stream is reset, for those who do not see nghttp2 (RFC 9113 §7).
    package enum ResetCode: UInt32 {
        case noError = 0
        case protocolError = 1
        case internalError = 2
        case refusedStream = 7
        case cancel = 8
    }

    package func reset(_ stream: HTTP2Stream, code: ResetCode) {
        nghttp2_submit_rst_stream(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, code.rawValue)
    }

    func reset(_ stream: HTTP2Stream, code: nghttp2_error_code = NGHTTP2_CANCEL) {
        nghttp2_submit_rst_stream(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, code.rawValue)
    }

    /// Says that a GOAWAY will come, so that requests on their way are still answered (RFC 9113 §6.8).
    package func announceShutdown() { nghttp2_submit_shutdown_notice(raw) }

    /// Takes no further stream; those there are go on.
    package func refuseNewStreams() {
        let last = nghttp2_session_get_last_proc_stream_id(raw)
        nghttp2_submit_goaway(
            raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), last, NGHTTP2_NO_ERROR.rawValue, nil, 0)
    }

    package func ping() { nghttp2_submit_ping(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil) }

    private func resume(_ stream: HTTP2Stream) {
        guard stream.isDeferred else { return }
        stream.isDeferred = false
        nghttp2_session_resume_data(raw, stream.id)
    }

    private func failure(_ code: Int32, _ what: String, retrySafe: Bool = false) -> HTTPError {
        let reason = violation ?? String(cString: nghttp2_strerror(code))
        return HTTPError(.malformed, "\(what): \(reason)", isRetrySafe: retrySafe)
    }

    // MARK: nghttp2's callbacks

    fileprivate func beginHead(of id: Int32) {
        if role == .server, stream(id) == nil {
            let stream = HTTP2Stream(id: id)
            hold(stream)
            nghttp2_session_set_stream_user_data(raw, id, stream.handle)
        }
        let head = makeHead()
        head.reset(UnsafeRawBufferPointer(start: nil, count: 0))
        head.version = .http2
        self.head = head
        headIsTooLarge = false
        block.clear()
    }

    fileprivate func headField(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        guard let head, !headIsTooLarge else { return }
        // RFC 9113 §6.5.2: a field counts 32 bytes above its text.
        guard block.count + name.count + value.count + 32 * (head.fieldCount + 1) <= limits.headerBytes,
            head.fieldCount < head.capacity
        else {
            headIsTooLarge = true
            return
        }
        let nameOffset = block.count
        block.append(name)
        let valueOffset = block.count
        block.append(value)
        let slice = MessageHead.Slice(offset: valueOffset, count: value.count)
        if name.first == UInt8(ascii: ":") {
            if equalsIgnoringCase(name, ":method") {
                head.methodSlice = slice
                head.method = HTTPMethod(value)
            } else if equalsIgnoringCase(name, ":path") {
                head.targetSlice = slice
            } else if equalsIgnoringCase(name, ":authority") {
                head.authoritySlice = slice
            } else if equalsIgnoringCase(name, ":status") {
                head.status = value.reduce(0) { $0 * 10 + Int($1 &- 48) }
            } else if equalsIgnoringCase(name, ":protocol") {
                head.protocolSlice = slice
            } else if equalsIgnoringCase(name, ":scheme") {
                head.schemeIsHTTPS = equalsIgnoringCase(value, "https")
            }
            return
        }
        let known = HeaderName(name)
        if known == .host, head.authoritySlice.count == 0 { head.authoritySlice = slice }
        head.storage[head.fieldCount] = HeaderField(
            name: known, nameOffset: UInt32(truncatingIfNeeded: nameOffset),
            nameLength: UInt16(truncatingIfNeeded: name.count), valueOffset: UInt32(truncatingIfNeeded: valueOffset),
            valueLength: UInt32(truncatingIfNeeded: value.count))
        head.fieldCount += 1
    }

    fileprivate func endHead(of id: Int32, endsStream: Bool) {
        defer {
            head = nil
            block.clear()
            // After a head with a body behind it the next one may be hours away.
            if streams.isEmpty || !endsStream { block.deallocate() }
        }
        guard let head, let stream = stream(id) else { return }
        head.buffer = block.bytes
        if headIsTooLarge {
            guard role == .server, !stream.hasHead else { return reset(stream, code: NGHTTP2_ENHANCE_YOUR_CALM) }
            guard !faults.contains(.largeHeadEndsStream) else { return reset(stream, code: NGHTTP2_INTERNAL_ERROR) }
            stream.hasHead = true
            return respond(stream, status: 431, headers: HTTPHeaders(), finished: true)
        }
        if stream.hasHead, head.status == 0 || head.status >= 200 || role == .server {
            stream.incomingTrailers = head.copyHeaders()
        } else {
            if role == .server || head.status >= 200 { stream.hasHead = true }
            head.framing = endsStream ? .none : .untilClose
            if !endsStream, let length = head.value(.contentLength), let count = decimalCount(length) {
                head.framing = .length(count)
            }
            delegate.http2(head: head, of: stream, endsStream: endsStream)
        }
        if endsStream { end(stream) }
    }

    fileprivate func data(_ bytes: UnsafeRawBufferPointer, of id: Int32) {
        guard let stream = stream(id) else { return consumedAfterClose(bytes.count) }
        delegate.http2(data: bytes, of: stream)
    }

    fileprivate func endOfData(of id: Int32) {
        guard let stream = stream(id) else { return }
        end(stream)
    }

    private func end(_ stream: HTTP2Stream) {
        delegate.http2(endOf: stream, trailers: stream.incomingTrailers ?? HTTPHeaders())
    }

    fileprivate func closed(_ id: Int32, code: UInt32) {
        guard let stream = stream(id) else { return }
        letGo(stream)
        delegate.http2(closed: stream, code: code)
        stream.owner = nil
    }

    fileprivate func goAway(last: Int32, code: UInt32) { delegate.http2(goAway: last, code: code) }

    /// Counts frames that cost us work and the peer nothing.
    fileprivate func countControlFrame() {
        if now != rateSecond {
            rateSecond = now
            controlFrames = 0
        }
        controlFrames += 1
        if controlFrames > limits.controlFramesPerSecond {
            violation = "more than \(limits.controlFramesPerSecond) control frames in one second"
        }
    }

    /// A message of the peer is malformed; whether that is the end of the connection.
    fileprivate func isFatal(_ code: Int32) -> Bool {
        guard faults.contains(.malformedEndsConnection),
            code == NGHTTP2_ERR_HTTP_HEADER.rawValue || code == NGHTTP2_ERR_HTTP_MESSAGING.rawValue
        else { return false }
        isMalformed = true
        return true
    }

    fileprivate var isViolated: Bool { violation != nil }

    /// How much of at most `limit` bytes the stream's next DATA frame holds. `send` moves them.
    fileprivate func plan(_ stream: HTTP2Stream, _ limit: Int, flags: inout UInt32) -> Int {
        let count = min(limit, stream.waiting)
        flags |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue
        if count == stream.waiting, stream.isFinished {
            flags |= NGHTTP2_DATA_FLAG_EOF.rawValue
            if !stream.trailers.isEmpty {
                flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
                var fields = HTTP2Fields()
                defer { fields.deallocate() }
                fields.add(stream.trailers)
                _ = fields.withValues { nghttp2_submit_trailer(raw, stream.id, $0, $1) }
            }
            return count
        }
        if count == 0 {
            stream.isDeferred = true
            return Int(NGHTTP2_ERR_DEFERRED.rawValue)
        }
        return count
    }

    /// A DATA frame: its header and bytes of the stream, straight to where frames are gathered.
    fileprivate func send(_ header: UnsafeRawBufferPointer, _ count: Int, of stream: HTTP2Stream) -> Int32 {
        // Is asked again once these are sent.
        guard frames.count < Self.gatheredBytes else { return Int32(NGHTTP2_ERR_WOULDBLOCK.rawValue) }
        frames.append(header)
        stream.take(count, into: &frames)
        if stream.isAboveHighWater, stream.output.count < limits.writeHighWater / 2 {
            stream.isAboveHighWater = false
            delegate.http2(drained: stream)
        }
        return 0
    }

    private func decimalCount(_ bytes: UnsafeRawBufferPointer) -> UInt64? {
        bytes.count <= 19 ? UInt64(String(decoding: bytes, as: UTF8.self)) : nil
    }
}

/// nghttp2's table of callbacks: the same for every session, made once, never freed, only read.
private struct SessionCallbacks: @unchecked Sendable {
    static let shared = SessionCallbacks()
    let raw: OpaquePointer?

    private init() {
        var callbacks: OpaquePointer?
        nghttp2_session_callbacks_new(&callbacks)
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, frame, user in
            guard let frame, let session = session(user) else { return 0 }
            session.beginHead(of: frame.pointee.hd.stream_id)
            return 0
        }
        nghttp2_session_callbacks_set_on_header_callback(callbacks) {
            _, _, name, nameLength, value, valueLength, _, user in
            guard let session = session(user) else { return 0 }
            session.headField(
                UnsafeRawBufferPointer(start: name, count: nameLength),
                UnsafeRawBufferPointer(start: value, count: valueLength))
            return 0
        }
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, user in
            guard let frame, let session = session(user) else { return 0 }
            let header = frame.pointee.hd
            let endsStream = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
            switch nghttp2_frame_type(UInt32(header.type)) {
            case NGHTTP2_HEADERS: session.endHead(of: header.stream_id, endsStream: endsStream)
            case NGHTTP2_DATA:
                if header.length == 0, !endsStream { session.countControlFrame() }
                if endsStream { session.endOfData(of: header.stream_id) }
            case NGHTTP2_GOAWAY:
                session.goAway(last: frame.pointee.goaway.last_stream_id, code: frame.pointee.goaway.error_code)
            case NGHTTP2_PING, NGHTTP2_SETTINGS:
                guard header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0 else { break }
                if header.type == NGHTTP2_SETTINGS.rawValue { session.hasPeerSettings = true }
                session.countControlFrame()
            case NGHTTP2_PRIORITY: session.countControlFrame()
            default: break
            }
            return session.isViolated ? Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) : 0
        }
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks) { _, _, code, user in
            session(user)?.isFatal(code) == true ? Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) : 0
        }
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) { _, _, id, bytes, count, user in
            session(user)?.data(UnsafeRawBufferPointer(start: bytes, count: count), of: id)
            return 0
        }
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { _, id, code, user in
            session(user)?.closed(id, code: code)
            return 0
        }
        nghttp2_session_callbacks_set_send_data_callback(callbacks) { _, _, header, length, source, user in
            guard let session = session(user), let handle = source?.pointee.ptr else {
                return Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
            }
            let header = UnsafeRawBufferPointer(start: header, count: HTTP2Session.frameHeaderBytes)
            return session.send(header, length, of: HTTP2Stream.at(handle))
        }
        raw = callbacks
    }
}

private func session(_ user: UnsafeMutableRawPointer?) -> HTTP2Session? {
    user.map { Unmanaged<HTTP2Session>.fromOpaque($0).takeUnretainedValue() }
}

private let readStreamOutput:
    @convention(c) (
        OpaquePointer?, Int32, UnsafeMutablePointer<UInt8>?, Int, UnsafeMutablePointer<UInt32>?,
        UnsafeMutablePointer<nghttp2_data_source>?, UnsafeMutableRawPointer?
    ) -> Int = { _, _, _, length, flags, source, user in
        guard let session = session(user), let flags, let handle = source?.pointee.ptr else {
            return Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
        }
        return session.plan(HTTP2Stream.at(handle), length, flags: &flags.pointee)
    }
