import HTTP

/// What an HTTP status says to a gRPC client, which reads its own status from the head (grpc/doc/http-grpc-status-mapping).
enum GRPCStatus {
    static let deadlineExceeded = 4

    static func code(for status: Int) -> Int {
        switch status {
        case 400: 13
        case 401: 16
        case 403: 7
        case 404: 12
        case 429, 502, 503, 504: 14
        default: 2
        }
    }

    /// By code, as Envoy's logs write them.
    static let names: [(camel: StaticString, snake: StaticString)] = [
        ("OK", "OK"), ("Canceled", "CANCELLED"), ("Unknown", "UNKNOWN"), ("InvalidArgument", "INVALID_ARGUMENT"),
        ("DeadlineExceeded", "DEADLINE_EXCEEDED"), ("NotFound", "NOT_FOUND"), ("AlreadyExists", "ALREADY_EXISTS"),
        ("PermissionDenied", "PERMISSION_DENIED"), ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
        ("FailedPrecondition", "FAILED_PRECONDITION"), ("Aborted", "ABORTED"), ("OutOfRange", "OUT_OF_RANGE"),
        ("Unimplemented", "UNIMPLEMENTED"), ("Internal", "INTERNAL"), ("Unavailable", "UNAVAILABLE"),
        ("DataLoss", "DATA_LOSS"), ("Unauthenticated", "UNAUTHENTICATED"),
    ]

    /// A response that is complete with its head: status 200, the failure in `grpc-status`, unless it is there already, and in
    /// `grpc-message`.
    static func reply(
        _ status: Int, _ message: UnsafeRawBufferPointer, on response: HeaderBlock, code: Int? = nil
    ) {
        response.status = 200
        response.set(.contentType, "application/grpc")
        if !response.has(.grpcStatus) { response.set(.grpcStatus, decimal: code ?? self.code(for: status)) }
        response.remove(.contentLength)
        if !message.isEmpty { setMessage(message, on: response) }
    }

    /// Percent-encoded as the gRPC protocol wants it.
    private static func setMessage(_ message: UnsafeRawBufferPointer, on response: HeaderBlock) {
        withUnsafeTemporaryAllocation(byteCount: message.count * 3, alignment: 1) { room in
            var count = 0
            for byte in message {
                if byte >= 0x20, byte <= 0x7e, byte != UInt8(ascii: "%") {
                    room[count] = byte
                    count += 1
                } else {
                    room[count] = UInt8(ascii: "%")
                    room[count + 1] = hexDigit(byte >> 4)
                    room[count + 2] = hexDigit(byte & 15)
                    count += 3
                }
            }
            response.set(.grpcMessage, UnsafeRawBufferPointer(rebasing: room[..<count]))
        }
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? value + 48 : value + 55 }
}
