import HTTP
import Reactor
import TLS
import Telemetry

/// One pod's way to the control plane: what its proxy says on a socket goes on over TLS with the pod's certificate, and back, byte by
/// byte. Belongs to one loop.
final class StreamForwarder: @unchecked Sendable {
    // Proof for `@unchecked`: touched on `loop` only.

    /// Connections of one pod. Beyond, they wait in the kernel's queue.
    static let connections = 16
    /// Bytes that wait for a side that is slow, each way; the other side is not read meanwhile.
    static let highWater = 64 << 10

    private let endpoint: HTTPEndpoint
    private let configuration: MeshNodeConfiguration
    private let loop: EventLoop
    private let streams: Gauge
    private let log: Log
    private var listener: Listener?
    private var context: TLSContext?
    private var open: [ObjectIdentifier: ForwardedStream] = [:]
    private var isUnreachable = false

    init(_ configuration: MeshNodeConfiguration, loop: EventLoop, streams: Gauge, log: Log) {
        self.configuration = configuration
        self.loop = loop
        self.streams = streams
        self.log = log
        endpoint = configuration.control
    }

    var count: Int { open.count }

    /// Bytes that wait for one of the sides.
    var queuedBytes: Int { open.values.reduce(0) { $0 + $1.queuedBytes } }

    static var options: StreamOptions {
        var options = StreamOptions()
        options.highWaterMark = highWater
        options.lowWaterMark = highWater / 4
        // A control plane whose machine is gone says nothing; its proxies must not wait for it for ever.
        options.keepAlive = 30
        return options
    }

    func listen(_ path: String) throws(SystemError) {
        var options = ListenerOptions()
        options.unixMode = 0o666
        options.maximumConnections = Self.connections
        options.stream = Self.options
        listener = try Listener(.unix(path: path), on: loop, options: options) { [weak self] in self?.accept($0) }
    }

    /// Shows this from now on; streams that stand go on with what they have shown.
    func use(_ identity: TLSIdentity) throws(TLSError) {
        let isFirst = context == nil
        context = try configuration.context(as: identity)
        if isFirst { for stream in open.values { connect(stream) } }
    }

    func close() {
        listener?.close()
        listener = nil
        for stream in open.values { stream.close() }
    }

    private func accept(_ socket: StreamSocket) {
        let stream = ForwardedStream(socket, of: self)
        open[ObjectIdentifier(stream)] = stream
        streams.add(1)
        if context != nil { connect(stream) }
    }

    private func connect(_ stream: ForwardedStream) {
        guard let context, case .host(let host, let port) = endpoint.place else { return }
        Task(executorPreference: loop) { [weak self, loop] in
            do {
                let addresses = try await NameResolver.resolve(host, port: port)
                // Another one each time, so that one that is down is not asked for ever.
                guard let address = addresses.randomElement() else { return stream.close() }
                try stream.connect(to: address, try TLSSession(context, serverName: host), on: loop)
            } catch { self?.missed(stream, error) }
        }
    }

    // MARK: What streams tell

    func stood() { isUnreachable = false }

    /// The control plane was not reached; it is tried again.
    func missed(_ stream: ForwardedStream, _ error: (any Error)?) {
        if !isUnreachable {
            isUnreachable = true
            log.warning(
                "the control plane cannot be reached for the pod's proxy, which goes on with what it has",
                ["address": "\(endpoint)", "error": error.map { "\($0)" } ?? "it closed the connection"])
        }
        _ = loop.schedule(after: stream.backoff.next()) { [weak self] in
            guard let self, open[ObjectIdentifier(stream)] != nil else { return }
            connect(stream)
        }
    }

    func ended(_ stream: ForwardedStream) {
        guard open.removeValue(forKey: ObjectIdentifier(stream)) != nil else { return }
        streams.add(-1)
    }
}
