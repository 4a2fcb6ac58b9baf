import Bytes
import Reactor

/// A connection whose first bytes are looked at before its chain is chosen: they stay in the socket's buffer, but for a PROXY
/// header, which is taken. Replaced as the socket's handler when all listener filters have had their say.
final class InspectedConnection: StreamHandler, @unchecked Sendable {
    // `@unchecked Sendable` is inherited from StreamHandler; only the loop's thread calls any of this.
    private let listener: ProxyListener
    private let snapshot: ListenerSnapshot
    private var origin: ConnectionOrigin
    private var next = 0
    private var helloInspector: ClientHelloInspector?
    private var httpInspector: HTTPInspector?
    private var hello: ClientHello?
    private var http: HTTPInspector.Version?
    private var timer = TimerHandle.none
    /// When the server is called although the client has said nothing.
    private var patience = TimerHandle.none
    private var isInspecting = true
    /// While it waits for a listener, and its socket is not read.
    private weak var awaiting: StreamSocket?
    private var hasAwaited = false

    init(_ listener: ProxyListener, _ snapshot: ListenerSnapshot, _ socket: StreamSocket, _ origin: ConnectionOrigin) {
        self.listener = listener
        self.snapshot = snapshot
        self.origin = origin
        super.init()
        listener.count(.inspected)
        // What needs no bytes is done before the client speaks.
        while next < snapshot.filters.count {
            if !snapshot.isDisabled(next, for: self.origin.local) {
                guard Self.isImmediate(snapshot.filters[next]) else { break }
                apply(snapshot.filters[next], socket)
            }
            next += 1
        }
        limit(socket)
        guard let time = listener.patience(snapshot, origin) else { return }
        patience = socket.loop.schedule(after: .nanoseconds(Int64(clamping: time))) { [weak self, weak socket] in
            guard let self, let socket, !socket.isClosed else { return }
            callServer(socket)
        }
    }

    private func limit(_ socket: StreamSocket) {
        guard snapshot.filterTimeout > 0 else { return }
        timer = socket.loop.schedule(after: .nanoseconds(Int64(clamping: snapshot.filterTimeout))) {
            [weak self, weak socket] in
            guard let self, let socket, !socket.isClosed else { return }
            listener.count(.filterTimeouts)
            guard snapshot.continuesOnTimeout else { return socket.close() }
            finish(socket)
        }
    }

    private static func isImmediate(_ filter: ListenerFilter) -> Bool {
        switch filter {
        case .originalDestination, .originalSource: true
        case .tlsInspector, .httpInspector, .proxyProtocol: false
        }
    }

    /// One that needs no bytes.
    private func apply(_ filter: ListenerFilter, _ socket: StreamSocket) {
        switch filter {
        case .originalDestination: origin.restore(from: socket, isTransparent: snapshot.isTransparent)
        case .originalSource(let keepsPort, let mark):
            origin.source = OriginalSource(of: origin.remote, keepsPort: keepsPort, mark: mark)
        case .tlsInspector, .httpInspector, .proxyProtocol: break
        }
    }

    /// Nothing is left to inspect: the client's first bytes need not be waited for.
    func finishIfDone(_ socket: StreamSocket) { if next == snapshot.filters.count { finish(socket) } }

    /// The client may be waiting for the server, which is called, to speak or not.
    private func callServer(_ socket: StreamSocket) {
        guard listener.beginTentatively(self, socket, snapshot, origin) else { return }
        socket.loop.cancel(timer)
        endInspection()
    }

    /// The client has something to say after all.
    func resume(_ socket: StreamSocket) {
        isInspecting = true
        listener.count(.inspected)
        limit(socket)
    }

    override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
        // It has begun to speak.
        stream.loop.cancel(patience)
        var taken = 0
        while next < snapshot.filters.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[taken...])
            if snapshot.isDisabled(next, for: origin.local) {
                next += 1
                continue
            }
            switch step(snapshot.filters[next], rest, stream) {
            case .proceed(let count):
                taken += count
                next += 1
            case .needsMore:
                if taken > 0 { stream.offerAgain() }
                return taken
            case .refused:
                listener.count(.filterErrors)
                stream.close()
                return bytes.count
            }
        }
        finish(stream)
        return taken
    }

    private enum Step { case proceed(taking: Int), needsMore, refused }

    private func step(_ filter: ListenerFilter, _ bytes: UnsafeRawBufferPointer, _ stream: StreamSocket) -> Step {
        switch filter {
        case .originalDestination, .originalSource:
            apply(filter, stream)
            return .proceed(taking: 0)
        case .tlsInspector(let limits, let fingerprints):
            if helloInspector == nil { helloInspector = ClientHelloInspector(limits, fingerprints: fingerprints) }
            switch helloInspector?.inspect(bytes) {
            case .needsMore: return .needsMore
            case .tooLarge: return .refused
            case .found(let hello):
                self.hello = hello
                return .proceed(taking: 0)
            case .notTLS, .malformed, nil: return .proceed(taking: 0)
            }
        case .httpInspector:
            guard hello == nil else { return .proceed(taking: 0) }
            if httpInspector == nil { httpInspector = HTTPInspector() }
            switch httpInspector?.inspect(bytes) {
            case .needsMore: return .needsMore
            case .found(let version):
                http = version
                return .proceed(taking: 0)
            case .notHTTP, nil: return .proceed(taking: 0)
            }
        case .proxyProtocol(let decoder, let counters):
            let verdict = decoder.decode(bytes)
            if let counter = counters.counter(of: verdict) { listener.count(counter) }
            switch verdict {
            case .needsMore: return .needsMore
            case .absent: return .proceed(taking: 0)
            case .refused: return .refused
            case .found(let header, let length):
                if let source = header.source { origin.remote = source }
                if let destination = header.destination {
                    origin.local = destination
                    origin.isRestored = true
                }
                return .proceed(taking: length)
            }
        }
    }

    private func endInspection() {
        guard isInspecting else { return }
        isInspecting = false
        listener.count(.inspected, by: -1)
    }

    /// The listener of its destination is there now, or will not be soon.
    func goOn(isAnswered: Bool) {
        guard let socket = awaiting, !socket.isClosed else { return }
        awaiting = nil
        origin.isUnanswered = !isAnswered
        socket.resumeReading()
        finish(socket)
    }

    private func finish(_ socket: StreamSocket) {
        socket.loop.cancel(timer)
        socket.loop.cancel(patience)
        if !hasAwaited {
            switch listener.ask(self, snapshot, origin) {
            case .answered: break
            case .unanswered: origin.isUnanswered = true
            case .waits:
                hasAwaited = true
                awaiting = socket
                return socket.pauseReading()
            }
        }
        endInspection()
        if let hello {
            origin.transportProtocol = ConnectionOrigin.tls
            origin.serverName = hello.serverName
            origin.applicationProtocols = hello.applicationProtocols
            hello.withServerName { name in
                hello.withApplicationProtocols { protocols in
                    listener.begin(
                        socket, snapshot, origin, name, .tls, protocols)
                }
            }
        } else {
            listener.remember(plain: origin)
            let names = http?.applicationProtocol ?? ProtocolNames()
            origin.applicationProtocols = names.map { String(decoding: $0, as: UTF8.self) }
            listener.begin(
                socket, snapshot, origin, UnsafeRawBufferPointer(start: nil, count: 0), .rawBuffer, names)
        }
        socket.offerAgain()
    }

    override func streamDidEnd(_ stream: StreamSocket) {
        listener.count(.filterCloses)
        stream.close()
    }

    override func streamDidClose(_ stream: StreamSocket, _ error: SystemError?) {
        stream.loop.cancel(timer)
        stream.loop.cancel(patience)
        endInspection()
    }
}
