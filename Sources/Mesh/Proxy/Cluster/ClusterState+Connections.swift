import Bytes
import Glibc
import Reactor

// What every connection to a host of the cluster has in common, whoever opens it: a pool, a proxied TCP connection, a gRPC
// stream of the proxy's own.
extension ClusterState {
    /// Starts to connect as the cluster's options have it. The connection hears of its fate, never within this call.
    func connect(
        _ connection: ProxyConnection, to address: SocketAddress, from source: OriginalSource? = nil
    ) throws(SystemError) {
        let (worker, own) = (connection.worker, settings.options)
        var options = worker.upstreamStreamOptions
        options.highWaterMark = own.bufferLimit
        options.lowWaterMark = own.bufferLimit / 2
        let socket = try StreamSocket.connect(
            to: address, on: worker.loop, from: source?.address ?? own.source(to: address),
            socketOptions: source?.socketOptions ?? [],
            timeout: .nanoseconds(Int64(clamping: own.connectTimeout)), options: options, handler: connection)
        own.keepAlive?.apply(to: socket.descriptor)
        connection.attach(socket)
    }

    /// A connection outside of the pools has failed before it was there.
    func connectFailed(to host: HostID, _ error: (any Error)?) {
        let isTimeout = (error as? SystemError)?.errno == ETIMEDOUT
        stats.connectFailures &+= 1
        if isTimeout { stats.connectTimeouts &+= 1 }
        record(isTimeout ? .timedOut : .connectFailed, of: host)
    }
}
