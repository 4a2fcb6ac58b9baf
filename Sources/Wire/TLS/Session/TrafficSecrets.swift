import Bytes
import COpenSSL

/// The two secrets of a TLS 1.3 connection's data, as OpenSSL tells them to key logs: the only way that it has to tell them.
struct TrafficSecrets {
    var client: [UInt8] = []
    var server: [UInt8] = []

    /// `line` in NSS key log format: label, the client's random, the secret.
    mutating func take(_ line: UnsafePointer<CChar>) {
        let bytes = UnsafeRawBufferPointer(start: line, count: strlen(line))
        if bytes.starts(with: Self.clientLabel) {
            client = Self.secret(bytes)
        } else if bytes.starts(with: Self.serverLabel) {
            server = Self.secret(bytes)
        }
    }

    mutating func wipe() {
        client.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) }
        server.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) }
        self = TrafficSecrets()
    }

    private static func secret(_ line: UnsafeRawBufferPointer) -> [UInt8] {
        guard let space = line.lastIndex(of: UInt8(ascii: " ")) else { return [] }
        var secret: [UInt8] = []
        secret.reserveCapacity(48)
        var at = space + 1
        while at + 1 < line.count, let high = Hex.value(line[at]), let low = Hex.value(line[at + 1]) {
            secret.append(high << 4 | low)
            at += 2
        }
        return secret
    }

    private static let clientLabel = Array("CLIENT_TRAFFIC_SECRET_0 ".utf8)
    private static let serverLabel = Array("SERVER_TRAFFIC_SECRET_0 ".utf8)
}
