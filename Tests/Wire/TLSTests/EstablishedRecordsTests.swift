import Bytes
import COpenSSL
import Testing

@testable import TLS

@Suite("Records after the handshake")
struct EstablishedRecordsTests {
    let fixture: Fixture
    init() throws { fixture = try Fixture.shared.get() }

    private func pair(_ server: TLSParameters = TLSParameters()) throws -> SessionPair {
        var configuration = TLSServerConfiguration(
            identities: [fixture.server], verification: PeerVerification(authorities: fixture.trust))
        configuration.parameters = server
        configuration.protocols = ["h2"]
        let pair = try SessionPair(
            TLSContext(connecting: fixture.trust, identity: fixture.client, protocols: ["h2"]),
            TLSContext(server: configuration))
        try pair.handshake()
        return pair
    }

    @Test("a server of TLS 1.3 goes on by itself and forgets nothing; of TLS 1.2 OpenSSL goes on")
    func takeover() throws {
        let new = try pair()
        #expect(new.server.raw == nil && new.server.records != nil)
        let old = try pair(TLSParameters(versions: .v1_2 ... .v1_2))
        #expect(old.server.raw != nil && old.server.records == nil)
        #expect(new.server.sessionID.count == 64)
        for (pair, version) in [(new, "TLSv1.3"), (old, "TLSv1.2")] {
            let server = pair.server
            #expect(server.version == version)
            #expect(server.serverName == "a.test" && server.negotiatedProtocol == "h2")
            #expect(server.peerCertificate == fixture.client.leaf && server.isPeerTrusted && server.hasPeerCertificate)
            #expect(server.localCertificate == fixture.server.leaf)
            #expect(server.cipherName == pair.client.cipherName)
            #expect(!server.isResumed)
        }
    }

    @Test("a peer that changes its key is followed, and answered when it asks for it", arguments: [1, 3, Int.max])
    func keyUpdate(piece: Int) throws {
        let pair = try pair()
        for round in 0..<5 {
            let kind = round % 2 == 0 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED
            let client = try #require(pair.client.raw)
            #expect(SSL_key_update(client, kind) == 1)
            try SessionPair.send(Array("to \(round)".utf8), from: pair.client)
            try pair.pump(piece: piece)
            try SessionPair.send(Array("from \(round)".utf8), from: pair.server)
            try pair.pump(piece: piece)
        }
        #expect(String(decoding: pair.serverGot, as: UTF8.self) == "to 0to 1to 2to 3to 4")
        #expect(String(decoding: pair.clientGot, as: UTF8.self) == "from 0from 1from 2from 3from 4")
    }

    @Test("what a peer of that state may not send ends the connection with an alert")
    func violations() throws {
        let header: [UInt8] = [23, 3, 3]
        let cases: [([UInt8], String)] = [
            ([20, 3, 3, 0, 1, 1], "UNEXPECTED_RECORD"), ([22, 3, 3, 0, 1, 1], "UNEXPECTED_RECORD"),
            (header + [0x41, 0x01], "ENCRYPTED_LENGTH_TOO_LONG"), (header + [0, 0], "DECRYPTION_FAILED"),
            (header + [0, 16] + .init(repeating: 0, count: 16), "DECRYPTION_FAILED"),
            (header + [0, 40] + .init(repeating: 7, count: 40), "DECRYPTION_FAILED"),
        ]
        for (bytes, reason) in cases {
            let pair = try pair()
            let error = #expect(throws: TLSError.self) {
                _ = try bytes.withUnsafeBytes { try pair.server.receive($0) { _ in true } }
            }
            #expect(error?.transportReason.contains(reason) == true, "\(error?.transportReason ?? "") for \(bytes)")
            // OpenSSL opens our alert, and says which it was.
            #expect(throws: TLSError.self) { try pair.pump() }
            #expect(throws: TLSError.self) { try SessionPair.send([1], from: pair.server) }
        }
    }

    @Test("flipped bytes never reach the reader, and never trap", arguments: [UInt64(1), 2])
    func flips(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        for _ in 0..<60 {
            let pair = try pair()
            try SessionPair.send([UInt8](repeating: 1, count: 40), from: pair.client)
            var wire: [UInt8] = []
            pair.client.withOutput {
                wire = Array($0)
                return $0.count
            }
            wire[Int.random(in: 0..<wire.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            var got = 0
            let cut = Int.random(in: 0...wire.count, using: &random)
            for part in [wire[..<cut], wire[cut...]] {
                _ = part.withUnsafeBytes { bytes in
                    try? pair.server.receive(bytes) {
                        got += $0.count
                        return true
                    }
                }
            }
            #expect(got == 0)
        }
    }

    @Test("HKDF-Expand-Label is the standard's (RFC 8448 §3)")
    func labels() throws {
        let secret = try #require(
            Hex.decode("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"))
        let suite = try #require(RecordProtection.Suite(0x1301))
        #expect(Hex.encode(suite.expand(secret, "key", 16)) == "9f02283b6c9c07efc26bb9f2ac92e356")
        #expect(Hex.encode(suite.expand(secret, "iv", 12)) == "cf782b88dd83549aadf1e984")
    }
}
