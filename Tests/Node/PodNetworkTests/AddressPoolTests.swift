import Bytes
import Testing

@testable import PodNetwork

@Suite("The address pool")
struct AddressPoolTests {
    private func holder(_ n: Int) -> AttachmentID { AttachmentID(containerID: "c\(n)", interface: "eth0")! }
    private func pool(_ prefix: String, quarantine: Int64 = 30) -> AddressPool {
        AddressPool(prefix: CIDR(prefix)!, quarantine: quarantine)!
    }

    @Test(
        "leaves out what is spoken for",
        arguments: [
            ("10.244.1.0/24", 253, "10.244.1.2", "10.244.1.254"),
            ("10.244.1.128/30", 1, "10.244.1.130", "10.244.1.130"),
            ("fd00:1::/126", 2, "fd00:1::2", "fd00:1::3"),
        ])
    func bounds(prefix: String, size: Int, first: String, last: String) throws {
        var pool = pool(prefix)
        #expect(pool.size == size)
        let given = try (0..<size).map { try pool.allocate(for: holder($0), now: 0) }
        #expect(given.first == IPAddress(first))
        #expect(given.last == IPAddress(last))
        #expect(Set(given).count == size)
        #expect(throws: AddressPoolError.exhausted(prefix: CIDR(prefix)!, size: size)) {
            try pool.allocate(for: holder(9999), now: 0)
        }
    }

    @Test(
        "does not exist where nothing is left", arguments: ["10.0.0.0/31", "10.0.0.0/32", "fd00::/128", "fd00::/127"])
    func tooSmall(prefix: String) {
        #expect(AddressPool(prefix: CIDR(prefix)!) == nil)
    }

    @Test("of a wide prefix gives the first addresses only, and counts without overflow")
    func wide() {
        #expect(pool("fd00::/64").size == 65_534)
        #expect(pool("10.0.0.0/8").size == 65_534)
    }

    @Test("gives addresses in turn, not the lowest that is free")
    func inTurn() throws {
        var pool = pool("10.0.0.0/24", quarantine: 0)
        let first = try pool.allocate(for: holder(1), now: 0)
        pool.release(first, by: holder(1), now: 0)
        #expect(try pool.allocate(for: holder(2), now: 1) != first)
    }

    @Test("keeps a released address until it has rested")
    func quarantine() throws {
        var pool = pool("10.0.0.0/30")
        let only = try pool.allocate(for: holder(1), now: 100)
        pool.release(only, by: holder(1), now: 100)
        #expect(throws: AddressPoolError.resting(prefix: CIDR("10.0.0.0/30")!, seconds: 1)) {
            try pool.allocate(for: holder(2), now: 129)
        }
        #expect(try pool.allocate(for: holder(2), now: 130) == only)
    }

    @Test("takes an address back only from its holder")
    func foreignRelease() throws {
        var pool = pool("10.0.0.0/30", quarantine: 0)
        let only = try pool.allocate(for: holder(1), now: 0)
        pool.release(only, by: holder(2), now: 0)
        #expect(pool.holder(of: only) == holder(1))
    }

    @Test("gives a named address once, and none that is not its own")
    func claims() throws {
        var pool = pool("10.0.0.0/24")
        let wanted = IPAddress("10.0.0.7")!
        try pool.claim(wanted, for: holder(1))
        try pool.claim(wanted, for: holder(1))
        #expect(throws: AddressPoolError.taken(wanted, by: holder(1))) { try pool.claim(wanted, for: holder(2)) }
        #expect(throws: AddressPoolError.self) { try pool.claim(IPAddress("10.0.1.7")!, for: holder(2)) }
        let given = try (0..<252).map { try pool.allocate(for: holder(100 + $0), now: 0) }
        #expect(!given.contains(wanted))
    }

    @Test("never gives one address to two, whatever happens", arguments: [1, 7, 42] as [UInt64])
    func property(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var pool = pool("10.0.0.0/26", quarantine: 5)
        var held: [IPAddress: AttachmentID] = [:]
        var released: [IPAddress: Int64] = [:]
        for now in 0..<5000 {
            let now = Int64(now)
            if Bool.random(using: &random), let (address, owner) = held.randomElement(using: &random) {
                pool.release(address, by: owner, now: now)
                held[address] = nil
                released[address] = now
            } else if let address = try? pool.allocate(for: holder(Int(now)), now: now) {
                #expect(held[address] == nil, "seed \(seed)")
                if let since = released[address] { #expect(now - since >= 5, "seed \(seed)") }
                held[address] = holder(Int(now))
            }
            #expect(pool.takenCount == held.count)
        }
    }
}
