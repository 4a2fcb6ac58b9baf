import Bytes

/// Writes ClientHello messages for tests, right and wrong ones.
struct HelloBuilder {
    var legacyVersion: UInt16 = 0x0303
    var ciphers: [UInt16] = [0x1301, 0x1302, 0xc02b]
    var extensions: [(type: UInt16, data: [UInt8])] = []

    static func named(_ name: String, protocols: [String] = []) -> HelloBuilder {
        var builder = HelloBuilder()
        if !name.isEmpty { builder.extensions.append((0, serverName(Array(name.utf8)))) }
        if !protocols.isEmpty { builder.extensions.append((16, alpn(protocols))) }
        builder.extensions.append((43, [4, 3, 4, 3, 3]))
        return builder
    }

    static func serverName(_ name: [UInt8]) -> [UInt8] { vector16([0] + vector16(name)) }
    static func alpn(_ names: [String]) -> [UInt8] {
        vector16(names.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) })
    }
    static func vector16(_ bytes: [UInt8]) -> [UInt8] { two(UInt16(bytes.count)) + bytes }
    static func two(_ number: UInt16) -> [UInt8] { [UInt8(number >> 8), UInt8(number & 255)] }

    /// The handshake message with its header of four bytes.
    var message: [UInt8] {
        var body = Self.two(legacyVersion) + [UInt8](repeating: 7, count: 32) + [0]
        body += Self.vector16(ciphers.flatMap(Self.two)) + [1, 0]
        body += Self.vector16(extensions.flatMap { Self.two($0.type) + Self.vector16($0.data) })
        return [1, 0, UInt8(body.count >> 8), UInt8(body.count & 255)] + body
    }

    /// In records of at most `size` bytes of content.
    func records(of size: Int = 16384) -> [UInt8] {
        let message = message
        return stride(from: 0, to: message.count, by: size).flatMap {
            [22, 3, 1] + Self.vector16(Array(message[$0..<min($0 + size, message.count)]))
        }
    }
}
