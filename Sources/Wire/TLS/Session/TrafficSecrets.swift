import Bytes
import COpenSSL

/// The two secrets of a TLS 1.3 connection's data, as OpenSSL tells them to key logs: the only way that it has to tell them.
struct TrafficSecrets {
    var client: Secret?
    var server: Secret?

    /// `line` in NSS key log format: label, the client's random, the secret.
    mutating func take(_ line: UnsafePointer<CChar>) {
        let bytes = UnsafeRawBufferPointer(start: line, count: strlen(line))
        if bytes.starts(with: Self.clientLabel) {
            client = Self.secret(bytes)
        } else if bytes.starts(with: Self.serverLabel) {
            server = Self.secret(bytes)
        }
    }

    private static func secret(_ line: UnsafeRawBufferPointer) -> Secret? {
        guard let space = line.lastIndex(of: UInt8(ascii: " ")) else { return nil }
        let digits = UnsafeRawBufferPointer(rebasing: line[(space + 1)...])
        var isHex = digits.count % 2 == 0
        let secret = Secret(count: digits.count / 2) { bytes in
            for index in bytes.indices {
                guard let high = Hex.value(digits[2 * index]), let low = Hex.value(digits[2 * index + 1]) else {
                    isHex = false
                    return
                }
                bytes[index] = high << 4 | low
            }
        }
        return isHex ? secret : nil
    }

    private static let clientLabel = Array("CLIENT_TRAFFIC_SECRET_0 ".utf8)
    private static let serverLabel = Array("SERVER_TRAFFIC_SECRET_0 ".utf8)
}
