import Bytes
import Reactor
import TLS

/// A listening socket on one worker, and what becomes of its connections.
package final class ProxyListener {
    private unowned let worker: ProxyWorker
    private var listener: Listener?
    package private(set) var manager: ConnectionManager
    private let tls: TLSContext?

    /// On the worker's loop.
    package init(
        _ worker: ProxyWorker, _ address: SocketAddress, tls: TLSContext? = nil, _ manager: ConnectionManager
    ) throws {
        self.worker = worker
        self.manager = manager
        self.tls = tls
        var options = ListenerOptions()
        options.reusePort = true
        options.stream = worker.downstreamStreamOptions
        listener = try Listener(address, on: worker.loop, options: options) { [unowned self] socket in accept(socket) }
    }

    package var address: SocketAddress? { listener?.address }

    private func accept(_ socket: StreamSocket) {
        do {
            let session = try tls.map { context throws(TLSError) in try TLSSession(context) }
            let connection = ProxyConnection(worker, ConnectionOrigin(remote: socket.peer, local: socket.local), session)
            connection.terminal = HTTP1Downstream(connection, manager)
            connection.attach(socket)
            connection.start()
        } catch {
            socket.close()
        }
    }

    package func close() { listener?.close() }
}
