import HTTP
import Protobuf
import TLS

/// An OpenTelemetry collector and the way to it, over HTTP or gRPC.
struct Collector: Hashable, Sendable {
    enum Way: Hashable, Sendable {
        case http(path: String)
        case grpc
    }

    struct Header: Hashable, Sendable {
        var key: HeaderKey
        var value: [UInt8]
    }

    /// What is told of the resource that spans and lines are of: this process.
    struct Attribute: Hashable, Sendable {
        var key: String
        var value: String
    }

    var way: Way
    var cluster: String
    var authority: String
    /// Nanoseconds.
    var timeout: UInt64
    var headers: [Header] = []

    var target: CallTarget { CallTarget(cluster, authority: authority, timeout: timeout) }

    /// Sends an encoded export request; `completion` hears whether the collector took it.
    ///
    /// - Parameter method: what gRPC calls it by; over HTTP the configured path is asked.
    func send(
        _ message: borrowing ReverseBuffer, method: StaticString, to target: CallTarget, _ worker: ProxyWorker,
        _ completion: @escaping (Bool) -> Void
    ) -> Call {
        switch way {
        case .grpc:
            return GRPCCall.start(worker, target, path: method, message: message.bytes, metadata: addHeaders) {
                result in
                if case .message = result { completion(true) } else { completion(false) }
            }
        case .http(var path):
            let call = Call(worker, target) { completion($0.outcome == .answered && $0.response.status == 200) }
            let request = call.request
            request.setMethod(.post, StaticString("POST").bytes)
            path.withUTF8 { request.setPath(UnsafeRawBufferPointer($0)) }
            request.add(.contentType, "application/x-protobuf")
            request.add(.userAgent, "OTel-OTLP-Exporter-Weft/0.1.0")
            addHeaders(request)
            message.withBytes { call.body.append($0) }
            call.start()
            return call
        }
    }

    private func addHeaders(_ request: HeaderBlock) {
        for header in headers { header.value.withUnsafeBytes { request.add(header.key, $0) } }
    }
}
