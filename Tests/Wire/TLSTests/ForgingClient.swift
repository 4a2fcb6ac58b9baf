import Bytes
import COpenSSL
import Testing

@testable import TLS

/// A client that did the handshake honestly and now seals whatever a test wants under its true key, which it reads in the
/// server's key log.
final class ForgingClient {
    let pair: SessionPair
    var server: TLSSession { pair.server }
    /// What the server's reader got.
    private(set) var got: [UInt8] = []
    private var sealing: RecordProtection
    private var output = GrowingBytes()

    init(_ fixture: Fixture, suite: String = "TLS_AES_128_GCM_SHA256") throws {
        let lines = KeyLog()
        var configuration = TLSServerConfiguration(identities: [fixture.server])
        configuration.keyLog = { lines.append($0) }
        pair = try SessionPair(TLSContext(connecting: fixture.trust), TLSContext(server: configuration))
        #expect(SSL_set_ciphersuites(pair.client.raw, suite) == 1)
        try pair.handshake()
        let line = try #require(lines.all.first { $0.hasPrefix("CLIENT_TRAFFIC_SECRET_0 ") })
        let secret = try #require(line.split(separator: " ").last.flatMap { Hex.decode(String($0)) })
        let number = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(pair.client.raw))
        let made = RecordProtection.make(
            try #require(RecordProtection.Suite(number)),
            secret: Secret(count: secret.count) { $0.copyBytes(from: secret) }, sealing: true,
            sequence: 0)
        // `#require` cannot hold what is not copied.
        guard let made else { throw TLSError(.library, "no protection") }
        sealing = made
        #expect(server.records != nil)
    }

    deinit { output.deallocate() }

    /// One record, with `padding` zeros behind the type.
    func seal(_ type: UInt8, _ content: [UInt8], padding: Int = 0) -> [UInt8] {
        let inner = content + [type] + .init(repeating: 0, count: padding)
        var isSealed = false
        inner.withUnsafeBytes {
            let before = UnsafeRawBufferPointer(rebasing: $0.dropLast())
            isSealed = sealing.seal(before, inner[inner.count - 1], into: &output)
        }
        #expect(isSealed)
        defer { output.deallocate() }
        return Array(output.bytes)
    }

    func data(_ text: String) -> [UInt8] { seal(23, Array(text.utf8)) }

    func keyUpdate(asks: Bool = false) -> [UInt8] {
        let record = seal(22, [24, 0, 0, 1, asks ? 1 : 0])
        changeKey()
        return record
    }

    /// For KeyUpdates that a test seals itself.
    func changeKey() {
        let isChanged = sealing.update()
        #expect(isChanged)
    }

    /// Gives the server bytes, in pieces.
    func deliver(_ bytes: [UInt8], piece: Int = .max) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let next = rest.prefix(piece)
            let taken = try next.withUnsafeBytes { bytes in
                try server.receive(bytes) {
                    got += $0
                    return true
                }
            }
            #expect(taken > 0)
            rest = rest.dropFirst(taken)
        }
    }

    var text: String { String(decoding: got, as: UTF8.self) }
}

/// Lines of a key log; filled and read on one thread.
final class KeyLog: @unchecked Sendable {
    private(set) var all: [String] = []
    func append(_ line: String) { all.append(line) }
}
