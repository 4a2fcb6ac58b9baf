import Bytes
import Reactor
import TLS

/// A listener on one worker: its sockets, and what becomes of their connections. New connections go by the present
/// snapshot; those that there are keep the chain they were given.
package final class ProxyListener {
    private unowned let worker: ProxyWorker
    private var listeners: [Listener] = []
    package private(set) var snapshot: ListenerSnapshot

    /// On the worker's loop. `port` stands in for port 0: what the first worker was given.
    package init(_ worker: ProxyWorker, _ snapshot: ListenerSnapshot, ports: [SocketAddress] = []) throws {
        self.worker = worker
        self.snapshot = snapshot
        guard snapshot.bindsToPort else { return }
        var options = ListenerOptions()
        options.reusePort = true
        options.backlog = snapshot.backlog
        options.stream = worker.downstreamStreamOptions
        options.stream.highWaterMark = snapshot.bufferLimit
        options.stream.lowWaterMark = snapshot.bufferLimit / 2
        for address in ports.isEmpty ? snapshot.addresses : ports {
            listeners.append(
                try Listener(address, on: worker.loop, options: options) { [unowned self] socket in accept(socket) })
        }
    }

    /// What it is bound to, with the ports that the kernel chose.
    package var addresses: [SocketAddress] { listeners.map(\.address) }

    package func update(_ snapshot: ListenerSnapshot) { self.snapshot = snapshot }

    private func accept(_ socket: StreamSocket) {
        let origin = ConnectionOrigin(remote: socket.peer, local: socket.local)
        guard snapshot.filters.isEmpty else {
            socket.handler = InspectedConnection(self, snapshot, socket, origin)
            return
        }
        begin(
            socket, snapshot, origin, UnsafeRawBufferPointer(start: nil, count: 0), .rawBuffer, ProtocolNames())
    }

    func count(_ stat: ListenerStat) {
        if let stats = snapshot.stats { worker.count(stats, stat) }
    }

    /// Inspection is over: the connection gets its chain.
    func begin(
        _ socket: StreamSocket, _ snapshot: ListenerSnapshot, _ origin: ConnectionOrigin,
        _ serverName: UnsafeRawBufferPointer, _ transport: ConnectionFacts.TransportProtocol,
        _ protocols: ProtocolNames
    ) {
        let facts = ConnectionFacts(
            destination: origin.local.endpoint, directSource: origin.directRemote.endpoint,
            source: origin.remote.endpoint, serverName: serverName, transportProtocol: transport,
            applicationProtocols: protocols)
        guard let chain = snapshot.chain(for: facts) else {
            count(.noChain)
            return socket.close()
        }
        do {
            let session = try chain.security.map { security throws(TLSError) in try TLSSession(security.context) }
            let connection = ProxyConnection(worker, origin, session)
            connection.countAccepted(snapshot.stats)
            connection.terminal = chain.terminal.terminal(of: connection)
            connection.attach(socket)
            if !chain.filters.isEmpty {
                let run = NetworkFilterRun(chain.filters)
                connection.filters = run
                run.accepted(connection)
            }
            connection.start()
        } catch {
            socket.close()
        }
    }

    package func close() { for listener in listeners { listener.close() } }
}

extension TerminalFilter {
    func terminal(of connection: ProxyConnection) -> ConnectionTerminal {
        switch self {
        case .connectionManager(let manager):
            connection.countOpened(connection.worker.stats(manager))
            return switch manager.options.codec {
            case .auto: DownstreamSniffer(connection, manager)
            case .http1: HTTP1Downstream(connection, manager)
            case .http2: HTTP2Downstream(connection, manager)
            }
        case .tcpProxy(let proxy): return TCPSession(connection, proxy)
        case .echo: return EchoTerminal(connection)
        case .directResponse(let bytes): return DirectResponseTerminal(connection, bytes)
        }
    }
}

/// Sends back what comes.
final class EchoTerminal: ConnectionTerminal {
    override func received(_ bytes: UnsafeRawBufferPointer) {
        connection.send(bytes)
        if !connection.isWritable { connection.pauseReading() }
    }

    override func drained() { connection.resumeReading() }
}

/// Says one thing and closes.
final class DirectResponseTerminal: ConnectionTerminal {
    private let bytes: [UInt8]

    init(_ connection: ProxyConnection, _ bytes: [UInt8]) {
        self.bytes = bytes
        super.init(connection)
    }

    override func opened() {
        bytes.withUnsafeBytes { connection.send($0) }
        connection.closeAfterWrite()
    }
}
