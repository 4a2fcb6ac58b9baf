import Bytes
import Netlink
import Testing

@testable import ServiceProxy

@Suite("Following a packet through rules")
struct RuleInterpreterTests {
    private static let node = TracedNode(addresses: [address("192.0.2.1")])
    private static let packet = TracedPacket(
        .interface("eth0"), from: address("198.51.100.9"), to: address("10.96.0.10"), .tcp, 80)
    private static let key = ServiceElementKey.service(address("10.96.0.10"), .tcp, 80)

    private static func fate(_ elements: [ServiceElementKey: ServiceElementValue]) throws -> PacketFate {
        let shape = ServiceTable(.v4, .testing)
        let table = TableSnapshot(shape, elements.map { (key: $0.key, value: $0.value) })
        return try RuleInterpreter(table: table, node: node).fate(of: packet)
    }

    @Test("a slot that is missing lets its share of flows through untouched")
    func missingSlot() throws {
        let three = try #require(SlotClass(endpoints: 3))
        let endpoint = Endpoint(address: address("10.244.2.5"), port: 8080)
        let fate = try Self.fate([
            Self.key: .dispatch(Dispatch(three, list: 7)),
            .endpoint(list: 7, slot: 1): .endpoint(endpoint.address, endpoint.port),
        ])
        #expect(
            fate
                == PacketFate([
                    (.endpoint(endpoint, masqueraded: false), Share(1, of: 3)), (.untouched, Share(2, of: 3)),
                ]))
    }

    @Test("a class that no chain serves lets the packet through")
    func unknownClass() throws {
        let fate = try Self.fate([Self.key: .dispatch(Dispatch(SlotClass(rawValue: 100), list: 7))])
        #expect(fate == PacketFate(.untouched))
    }

    @Test("thousands of slots are followed one by one")
    func many() throws {
        let large = try #require(SlotClass(endpoints: 1000))
        var elements: [ServiceElementKey: ServiceElementValue] = [Self.key: .dispatch(Dispatch(large, list: 1))]
        for slot in 0..<large.slots {
            elements[.endpoint(list: 1, slot: UInt32(slot))] = .endpoint(
                slot < large.slots / 4 ? address("10.0.0.1") : address("10.0.0.2"), 80)
        }
        let fate = try Self.fate(elements)
        #expect(
            fate
                == PacketFate([
                    (.endpoint(Endpoint(address: address("10.0.0.1"), port: 80), masqueraded: false), Share(1, of: 4)),
                    (.endpoint(Endpoint(address: address("10.0.0.2"), port: 80), masqueraded: false), Share(3, of: 4)),
                ]))
    }

    // MARK: Registers

    @Test("a value is padded to whole registers, and what was not loaded cannot be read")
    func registers() throws {
        var file = RegisterFile()
        try file.store([0, 80], at: 3)
        #expect(try file.load(4, at: 3) == [0, 80, 0, 0])
        #expect(throws: RegisterFile.Violation.self) { try file.load(8, at: 3) }
        #expect(throws: RegisterFile.Violation.self) { try file.load(1, at: 2) }
        #expect(throws: RegisterFile.Violation.self) { try file.store([UInt8](repeating: 1, count: 16), at: 13) }
        try file.store([UInt8](repeating: 1, count: 16), at: 12)
        #expect(try file.load(16, at: 12).count == 16)
    }

    // MARK: Shares

    @Test("shares are exact, and agree when they are as near as slots allow")
    func shares() {
        #expect(Share(2, of: 6) == Share(1, of: 3))
        var sum = Share.none
        for _ in 0..<7 { sum += Share(1, of: 7) }
        #expect(sum == .whole)
        let one = PacketFate.Outcome.endpoint(Endpoint(address: .anyV4, port: 1), masqueraded: false)
        let two = PacketFate.Outcome.endpoint(Endpoint(address: .anyV4, port: 2), masqueraded: false)
        let half = PacketFate([(one, Share(1, of: 2)), (two, Share(1, of: 2))])
        #expect(half.agrees(with: half))
        #expect(PacketFate([(one, Share(256, of: 513)), (two, Share(257, of: 513))]).agrees(with: half))
        #expect(!PacketFate([(one, Share(1, of: 4)), (two, Share(3, of: 4))]).agrees(with: half))
        #expect(!PacketFate(one).agrees(with: half))
    }
}
