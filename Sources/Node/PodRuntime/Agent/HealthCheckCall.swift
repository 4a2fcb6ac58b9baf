/// `grpc.health.v1.Health/Check` in bytes: a name in, a number out.
enum HealthCheckCall {
    static let path = "/grpc.health.v1.Health/Check"
    static let serving = 1

    /// A message frame with `HealthCheckRequest{service: name}`.
    static func request(_ service: String) -> [UInt8] {
        var message: [UInt8] = []
        if !service.isEmpty {
            // Field 1, length-delimited; the length as a varint.
            message.append(0x0A)
            var length = service.utf8.count
            while length >= 0x80 {
                message.append(UInt8(truncatingIfNeeded: length) | 0x80)
                length >>= 7
            }
            message.append(UInt8(length))
            message += Array(service.utf8)
        }
        return [0] + withUnsafeBytes(of: UInt32(message.count).bigEndian) { Array($0) } + message
    }

    /// `status` of the answer; 0, which is UNKNOWN, where it has none.
    static func status(_ body: [UInt8]) -> Int {
        // Five bytes of frame, then field 1 as a varint of one byte: the enumeration has four values.
        body.count >= 7 && body[0] == 0 && body[5] == 0x08 ? Int(body[6]) : 0
    }

    static func name(_ status: Int) -> String {
        switch status {
        case 1: "SERVING"
        case 2: "NOT_SERVING"
        case 3: "SERVICE_UNKNOWN"
        default: "UNKNOWN"
        }
    }
}
