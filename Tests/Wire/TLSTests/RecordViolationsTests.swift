import Bytes
import COpenSSL
import Testing

@testable import TLS

/// What RFC 8446 forbids after the handshake, what it allows though few do it, and what follows of either.
@Suite("Records of a hostile client")
struct RecordViolationsTests {
    let fixture: Fixture
    init() throws { fixture = try Fixture.shared.get() }

    private static let suites = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]

    /// Records that a test seals, each with its type and padding; then what is said of them, and the alert that is sent.
    struct Violation: Sendable, CustomStringConvertible {
        var records: [(type: UInt8, content: [UInt8], padding: Int)]
        var reason: String
        var alert: String?

        init(_ type: UInt8, _ content: [UInt8], padding: Int = 0, times: Int = 1, _ reason: String, _ alert: String?) {
            records = .init(repeating: (type, content, padding), count: times)
            self.reason = reason
            self.alert = alert
        }

        var description: String { "\(records.count) of \(records[0].type), \(records[0].content.prefix(6)): \(reason)" }
    }

    static let violations: [Violation] = {
        let large = [UInt8](repeating: 1, count: 16 << 10)
        let unexpected = "ALERT_UNEXPECTED_MESSAGE"
        var all = [
            // Finished, a certificate that nobody asked for, a ticket for a server, a new ClientHello.
            Violation(22, [20, 0, 0, 0], "UNEXPECTED_MESSAGE", unexpected),
            Violation(22, [11, 0, 0, 4, 0, 0, 0, 0], "UNEXPECTED_MESSAGE", unexpected),
            Violation(22, [4, 0, 0, 1, 0], "UNEXPECTED_MESSAGE", unexpected),
            Violation(22, [1] + large.prefix(200), "UNEXPECTED_MESSAGE", unexpected),
            // KeyUpdate: of no known kind, too long, with something behind it, endless in pieces of nothing.
            Violation(22, [24, 0, 0, 1, 2], "BAD_KEY_UPDATE", "ALERT_ILLEGAL_PARAMETER"),
            Violation(22, [24, 0, 0, 2, 0, 0], "UNEXPECTED_MESSAGE", unexpected),
            Violation(22, [24, 0, 0, 1, 0, 24], "UNEXPECTED_MESSAGE", unexpected),
            Violation(22, [], "UNEXPECTED_MESSAGE", unexpected),
            Violation(21, [], "UNEXPECTED_MESSAGE", unexpected),
            Violation(21, [1], "BAD_ALERT", "ALERT_DECODE_ERROR"),
            Violation(21, [1, 0, 1, 0], "BAD_ALERT", "ALERT_DECODE_ERROR"),
            // ChangeCipherSpec, heartbeat, and padding without a type.
            Violation(20, [1], "UNEXPECTED_MESSAGE", unexpected),
            Violation(24, [1, 0, 0], "UNEXPECTED_MESSAGE", unexpected),
            Violation(0, [0, 0, 0], "UNEXPECTED_MESSAGE", unexpected),
            Violation(23, large + [1], "ENCRYPTED_LENGTH_TOO_LONG", "ALERT_RECORD_OVERFLOW"),
            Violation(23, large, padding: 1, "ENCRYPTED_LENGTH_TOO_LONG", "ALERT_RECORD_OVERFLOW"),
            Violation(23, [], padding: 1 << 14, times: 33, "TOO_MANY_EMPTY_FRAGMENTS", unexpected),
            Violation(21, [1, 90], times: 33, "TOO_MANY_WARNING_ALERTS", unexpected),
            // What the client says is not answered, whatever level it has.
            Violation(21, [2, 42], "SSLV3_ALERT_BAD_CERTIFICATE", nil),
            Violation(21, [1, 80], "TLSV1_ALERT_INTERNAL_ERROR", nil),
            Violation(21, [2, 255], "TLSV1_ALERT_255", nil),
        ]
        var split = Violation(22, [24, 0], "UNEXPECTED_MESSAGE", unexpected)
        split.records.append((23, [1], 0))
        all.append(split)
        return all
    }()

    @Test("what a client may not say ends the connection with the standard's alert", arguments: violations)
    func violation(_ violation: Violation) throws {
        let client = try ForgingClient(fixture)
        try client.deliver(client.data("before"))
        let records = violation.records.map { client.seal($0.type, $0.content, padding: $0.padding) }
        for record in records.dropLast() { try client.deliver(record) }
        let error = #expect(throws: TLSError.self) { try client.deliver(records[records.count - 1]) }
        let reason = error?.transportReason ?? ""
        #expect(reason.contains(":\(violation.reason):"), "\(reason)")
        try expectDead(client, alert: violation.alert)
        #expect(client.text == "before")
    }

    /// Sends `alert` and nothing after it, takes nothing more, and says no more.
    private func expectDead(_ client: ForgingClient, alert: String?) throws {
        #expect(client.server.hasOutput == (alert != nil))
        if let alert {
            let told = #expect(throws: TLSError.self) { try client.pair.pump() }
            #expect(told?.transportReason.contains(alert) == true, "\(told?.transportReason ?? "")")
        }
        let got = client.text
        #expect(throws: TLSError.self) { try client.deliver(client.data("after")) }
        #expect(throws: TLSError.self) { try SessionPair.send([1], from: client.server) }
        client.server.sendClose()
        #expect(!client.server.hasOutput)
        #expect(client.text == got)
    }

    @Test("each byte of a record that is changed ends the connection, and the reader sees nothing", arguments: suites)
    func flips(suite: String) throws {
        for index in 0..<(5 + 6 + 1 + 16) {
            let client = try ForgingClient(fixture, suite: suite)
            var wire = client.data("secret")
            wire[index] ^= 1 << UInt8(index % 8)
            // A longer length is waited for: what comes next is taken for its rest.
            let following = client.data(String(repeating: "x", count: 3000))
            let error = #expect(throws: TLSError.self) { try client.deliver(wire + following) }
            let reason = error?.transportReason ?? ""
            #expect(
                reason.contains(index == 0 ? "UNEXPECTED_RECORD" : "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"),
                "byte \(index): \(reason)")
            try expectDead(client, alert: index == 0 ? "ALERT_UNEXPECTED_MESSAGE" : "ALERT_BAD_RECORD_MAC")
            #expect(client.text.isEmpty)
        }
    }

    @Test("records that are repeated, left out or exchanged are not authentic")
    func order() throws {
        for order in [[0, 0], [1], [1, 0], [0, 2]] {
            let client = try ForgingClient(fixture)
            let records = (0..<3).map { client.data("\($0)") }
            #expect(throws: TLSError.self) { for index in order { try client.deliver(records[index]) } }
            try expectDead(client, alert: "ALERT_BAD_RECORD_MAC")
            #expect(client.text == (order[0] == 0 ? "0" : ""))
        }
    }

    @Test("a stream that is cut shows whole records only, and no end")
    func truncation() throws {
        let client = try ForgingClient(fixture)
        let first = client.data("first")
        let wire = first + client.data("second") + client.seal(21, [1, 0])
        for (index, byte) in wire.enumerated() {
            #expect(!client.server.isPeerClosed)
            try client.deliver([byte])
            let whole = index + 1 < first.count ? "" : index + 1 < 2 * first.count + 1 ? "first" : "firstsecond"
            #expect(client.text == whole)
        }
        #expect(client.server.isPeerClosed)
    }

    @Test("what is allowed and rare is understood", arguments: [1, 5, Int.max])
    func rarities(piece: Int) throws {
        let client = try ForgingClient(fixture)
        var wire: [UInt8] = []
        for round in 0..<2 {
            for index in 0..<RecordProtection.ContentType.data {
                // Empty, padded, and an alert that announces the end without being one.
                wire += index == 7 ? client.seal(21, [1, 90]) : client.seal(23, [], padding: Int(index))
            }
            // In pieces, and then under the new key.
            wire += client.seal(22, [24])
            wire += client.seal(22, [0, 0, 1], padding: 3)
            wire += client.seal(22, [1])
            client.changeKey()
            wire += client.seal(23, Array("round \(round) ".utf8), padding: 1000)
        }
        try client.deliver(wire, piece: piece)
        #expect(client.text == "round 0 round 1 ")
        // Asked twice, told once, before the next data.
        #expect(!client.server.hasOutput)
        try SessionPair.send(Array("answer".utf8), from: client.server)
        try client.pair.pump()
        #expect(String(decoding: client.pair.clientGot, as: UTF8.self) == "answer")
    }

    @Test(
        "whatever is allowed, in any order and any pieces, with a reader that pauses",
        arguments: [UInt64(1), 2, 3, 4, 5])
    func anyOrder(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let client = try ForgingClient(fixture, suite: Self.suites.randomElement(using: &random) ?? "")
        var (wire, expected): ([UInt8], [UInt8]) = ([], [])
        for round in 0..<200 {
            switch Int.random(in: 0..<8, using: &random) {
            case 0: wire += client.keyUpdate(asks: Bool.random(using: &random))
            case 1: wire += client.seal(23, [], padding: Int.random(in: 0..<300, using: &random))
            case 2: wire += client.seal(21, [1, 90])
            default:
                let size = Int.random(in: 1...(round % 20 == 0 ? 16 << 10 : 200), using: &random)
                let content = (0..<size).map { UInt8(truncatingIfNeeded: $0 &+ round) }
                expected += content
                wire += client.seal(
                    23, content, padding: Int.random(in: 0...min(100, (16 << 10) - size), using: &random))
            }
        }
        var (at, got): (Int, [UInt8]) = (0, [])
        while at < wire.count {
            let end = min(wire.count, at + Int.random(in: 1...3000, using: &random))
            at += try wire[at..<end].withUnsafeBytes { bytes in
                try client.server.receive(bytes) {
                    got += $0
                    return Bool.random(using: &random)
                }
            }
        }
        #expect(got == expected, "seed \(seed)")
        try SessionPair.send([1, 2, 3], from: client.server)
        try client.pair.pump()
        #expect(client.pair.clientGot == [1, 2, 3])
    }

    @Test("more changes of key in a row than are useful are refused; with data between them they are not")
    func keyUpdateFlood() throws {
        let client = try ForgingClient(fixture)
        for round in 0..<100 {
            try client.deliver(client.keyUpdate(asks: true))
            try client.deliver(client.data("\(round % 10)"))
        }
        #expect(client.text.count == 100 && !client.server.hasOutput)
        for _ in 0..<EstablishedRecords.recordsWithoutDataAllowed { try client.deliver(client.keyUpdate(asks: true)) }
        let error = #expect(throws: TLSError.self) { try client.deliver(client.keyUpdate()) }
        #expect(error?.transportReason.contains("TOO_MANY_KEY_UPDATES") == true)
        try expectDead(client, alert: "ALERT_UNEXPECTED_MESSAGE")
    }

    @Test("what follows the client's close_notify is ignored, in the same read and later; we may go on")
    func afterPeerClose() throws {
        let client = try ForgingClient(fixture)
        let end = client.data("last ") + client.seal(21, [1, 0])
        try client.deliver(end + client.data("ignored") + [1, 2, 3])
        try client.deliver(client.data("ignored") + .init(repeating: 9, count: 100))
        #expect(client.text == "last " && client.server.isPeerClosed)
        try SessionPair.send(Array("still here".utf8), from: client.server)
        try client.pair.pump()
        #expect(String(decoding: client.pair.clientGot, as: UTF8.self) == "still here")
    }

    @Test("nothing is sent after our close_notify: no data, no key, no alert; we may read on")
    func afterOwnClose() throws {
        let client = try ForgingClient(fixture)
        client.server.sendClose()
        client.server.sendClose()
        try client.pair.pump()
        #expect(client.pair.client.isPeerClosed)
        let sent = try [1, 2, 3].withUnsafeBytes { try client.server.send($0) }
        #expect(sent == 0 && !client.server.hasOutput)
        try client.deliver(client.keyUpdate(asks: true) + client.data("read on"))
        #expect(client.text == "read on" && !client.server.hasOutput)
        #expect(throws: TLSError.self) { try client.deliver([23, 3, 3, 0, 1, 0]) }
        #expect(!client.server.hasOutput)
    }

    @Test("what cannot become a record is refused with its header")
    func headers() throws {
        for (header, reason) in [
            ([20, 3, 3, 0, 1], "UNEXPECTED_RECORD"), ([22, 3, 3, 0x40, 0], "UNEXPECTED_RECORD"),
            ([21, 3, 3, 0, 2], "UNEXPECTED_RECORD"), ([23, 3, 3, 0x40, 0x12], "ENCRYPTED_LENGTH_TOO_LONG"),
            ([23, 3, 3, 0xff, 0xff], "ENCRYPTED_LENGTH_TOO_LONG"), ([0x80, 0, 0, 0, 0], "UNEXPECTED_RECORD"),
        ] as [([UInt8], String)] {
            let client = try ForgingClient(fixture)
            let error = #expect(throws: TLSError.self) { try client.deliver(header, piece: 2) }
            #expect(error?.transportReason.contains(reason) == true)
        }
        // The largest there is.
        let client = try ForgingClient(fixture)
        try client.deliver(client.seal(23, .init(repeating: 1, count: 16 << 10)), piece: 4000)
        #expect(client.text.utf8.count == 16 << 10)
    }
}
