import Bytes
import HTTP
import TLS

/// A unary gRPC call of the proxy itself: one message out, one message or a status back.
package struct GRPCCall {
    /// What came back. The message is valid within the completion.
    package enum Result {
        case message(UnsafeRawBufferPointer)
        /// A gRPC status other than OK, or what stands for it.
        case status(Int)
    }

    /// Starts it. `message` is encoded already; `metadata` adds fields to the request's head. The answer to `cancel` is the call's.
    package static func start(
        _ worker: ProxyWorker, _ target: CallTarget, path: StaticString, message: [UInt8],
        metadata: (HeaderBlock) -> Void = { _ in }, _ completion: @escaping (Result) -> Void
    ) -> Call {
        let call = Call(worker, target) { call in completion(result(of: call)) }
        let request = call.request
        request.setMethod(.post, StaticString("POST").bytes)
        request.setPath(path.bytes)
        request.add(.te, "trailers")
        if target.timeout > 0 { addTimeout(target.timeout, to: request) }
        request.add(.contentType, "application/grpc")
        call.declaresLength = false
        if target.announcesItself {
            ClientIdentity.localAddress.withUnsafeBytes { request.add(.xForwardedFor, $0) }
        }
        metadata(request)
        call.body.reserve(message.count + 5)
        call.body.append(0)
        let length = UInt32(message.count)
        for shift: UInt32 in [24, 16, 8, 0] { call.body.append(UInt8(truncatingIfNeeded: length >> shift)) }
        message.withUnsafeBytes { call.body.append($0) }
        call.start()
        return call
    }

    /// As gRPC writes time-outs: at most eight digits and a unit.
    private static func addTimeout(_ nanoseconds: UInt64, to request: HeaderBlock) {
        let milliseconds = max(nanoseconds / 1_000_000, 1)
        let (value, unit): (UInt64, StaticString) =
            milliseconds < 100_000_000 ? (milliseconds, "m") : (milliseconds / 1000, "S")
        var text = GrowingBytes()
        text.append(decimal: Int(min(value, 99_999_999)))
        text.append(unit)
        request.add(.grpcTimeout, text.bytes)
        text.deallocate()
    }

    private static func result(of call: Call) -> Result {
        guard call.outcome == .answered else { return .status(14) }
        // A call that ends with its head carries its status there.
        if let status = (call.trailers ?? call.response).value(.grpcStatus) ?? call.response.value(.grpcStatus) {
            guard let code = status.decimal else { return .status(2) }
            guard code == 0 else { return .status(Int(code)) }
            return message(in: call.answer.bytes)
        }
        guard call.response.status == 200 else { return .status(GRPCStatus.code(for: call.response.status)) }
        return .status(2)
    }

    /// Compression is not asked for, so none may come.
    private static func message(in bytes: UnsafeRawBufferPointer) -> Result {
        guard bytes.count >= 5, bytes[0] == 0 else { return .status(13) }
        let length = Int(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt32.self)))
        guard bytes.count == 5 + length else { return .status(13) }
        return .message(UnsafeRawBufferPointer(rebasing: bytes[5...]))
    }
}
