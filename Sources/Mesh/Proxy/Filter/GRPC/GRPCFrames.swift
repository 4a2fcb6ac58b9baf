/// Counts the messages of a gRPC body, however its bytes are cut.
struct GRPCFrames {
    private(set) var count: UInt64 = 0
    private var headerBytes = 0
    private var length: UInt32 = 0
    private var remaining = 0

    /// - Returns: how many messages began within these bytes.
    mutating func take(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        let before = count
        var at = 0
        while at < bytes.count {
            if remaining > 0 {
                let step = min(remaining, bytes.count - at)
                remaining -= step
                at += step
                continue
            }
            // The first octet says whether it is compressed.
            if headerBytes > 0 { length = length << 8 | UInt32(bytes[at]) }
            headerBytes += 1
            at += 1
            guard headerBytes == 5 else { continue }
            remaining = Int(length)
            (headerBytes, length) = (0, 0)
            count &+= 1
        }
        return count &- before
    }
}

/// A gRPC method as the path names it: `/package.Service/Method`.
struct GRPCMethod: Hashable {
    var service: String
    var name: String

    init?(_ path: UnsafeRawBufferPointer) {
        guard path.first == UInt8(ascii: "/") else { return nil }
        let parts = path.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else { return nil }
        service = String(decoding: parts[0], as: UTF8.self)
        name = String(decoding: parts[1], as: UTF8.self)
    }

    init(service: String, name: String) {
        self.service = service
        self.name = name
    }
}
