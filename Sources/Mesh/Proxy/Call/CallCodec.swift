import Bytes
import HTTP

/// The client's side of the proxy's own requests: hands what comes to the call that asked. One a worker.
final class CallCodec: DownstreamCodec {
    /// Leads nowhere: calls have no client's connection.
    private let nowhere: ProxyConnection

    init(_ worker: ProxyWorker) {
        nowhere = ProxyConnection(worker, ConnectionOrigin(remote: .unix(path: ""), local: .unix(path: "")), nil)
        super.init(nowhere, .calls)
    }

    private func call(_ stream: HTTPStream) -> Call? { stream.codecHandle as? Call }

    override func sendHead(_ stream: HTTPStream, _ head: HeaderBlock, end: Bool) {
        guard head.status >= 200 else { return }
        call(stream)?.took(head)
    }

    override func sendData(_ stream: HTTPStream, _ bytes: UnsafeRawBufferPointer, end: Bool) {
        guard let call = call(stream), !call.took(bytes) else { return }
        call.ended(stream, .broken)
        stream.downstreamGone()
    }

    override func sendTrailers(_ stream: HTTPStream, _ trailers: HeaderBlock) { call(stream)?.took(trailers: trailers) }

    override func reset(_ stream: HTTPStream, _ reason: StreamReset) { call(stream)?.ended(stream, .broken) }

    override func isWritable(_ stream: HTTPStream) -> Bool { true }

    override func finished(_ stream: HTTPStream) { call(stream)?.ended(stream, .answered) }
}
