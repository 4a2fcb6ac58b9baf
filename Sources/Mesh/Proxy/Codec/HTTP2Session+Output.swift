import HTTP
import TLS

extension HTTP2Session {
    /// Sends what is ready for the peer for as long as the connection takes it. Memory is the worker's, and only for the call.
    func sendOutput(on connection: ProxyConnection) throws(HTTPError) {
        let worker = connection.worker
        var memory = GrowingBytes()
        worker.lend(&memory)
        defer { worker.giveBack(&memory) }
        try sendOutput(using: &memory) { bytes in
            connection.bytesSent &+= UInt64(bytes.count)
            connection.send(bytes)
            return connection.isWritable && !connection.isClosed
        }
    }
}
