import Bytes
import Glibc
import Testing

@testable import Netlink

@Suite("Netlink transport")
struct NetlinkTransportTests {
    /// RTM_GETLINK with an empty `ifinfomsg`.
    private static let listLinks = NetlinkRequest(
        type: 18, body: [UInt8](repeating: 0, count: 16), subject: "list links")

    private static func getLink(_ name: String) -> NetlinkRequest {
        var writer = NetlinkWriter()
        for _ in 0..<4 { writer.put(UInt32(0)) }
        writer.attribute(3, name)
        return NetlinkRequest(type: 18, body: writer.bytes, subject: "get link \(name)")
    }

    @Test("a connection stays in the namespace in which it was opened: a new one holds only lo")
    func namespace() throws {
        let namespace = try NamespaceHandle.create()
        let connection = try NetlinkConnection(.route, namespace: namespace.descriptor)
        let names = try connection.dump(Self.listLinks) { $0.attributes(after: 16).first(3)?.string }
        #expect(names == ["lo"])
        let here = try NamespaceHandle.current()
        #expect(here.inode != namespace.inode)
        #expect(try namespace.run { try NamespaceHandle.current().inode } == namespace.inode)
        #expect(try NamespaceHandle.current().inode == here.inode)
    }

    @Test("a thousand requests in flight: each gets its own answer, and a failing one stops no other")
    func pipeline() throws {
        let namespace = try NamespaceHandle.create()
        let connection = try NetlinkConnection(.route, namespace: namespace.descriptor)
        let requests = (0..<1300).map { Self.getLink($0 % 3 == 1 ? "none\($0)" : "lo") }
        let results = try connection.exchange(requests)
        #expect(results.count == requests.count)
        for (index, result) in results.enumerated() {
            switch result {
            case .success(let replies):
                #expect(index % 3 != 1)
                #expect(replies.count == 1)
            case .failure(let error):
                #expect(index % 3 == 1)
                #expect(error.errno == ENODEV)
                #expect(error.subject == "get link none\(index)")
            }
        }
    }

    @Test("the kernel's own words and the place of the fault come with an error")
    func extendedAcknowledgement() throws {
        let namespace = try NamespaceHandle.create()
        let connection = try NetlinkConnection(.route, namespace: namespace.descriptor)
        var writer = NetlinkWriter()
        for _ in 0..<4 { writer.put(UInt32(0)) }
        writer.attribute(4, [1, 2])  // IFLA_MTU takes four bytes
        let request = NetlinkRequest(type: 16, flags: .create, body: writer.bytes, subject: "add link x")
        let error = try #require(throws: NetlinkError.self) { try connection.perform(request) }
        #expect(!error.text.isEmpty)
        #expect(error.offset == 32)
        #expect("\(error)".hasPrefix("add link x: "))
    }

    @Test("a pinned namespace outlives its object and goes with its path")
    func pinned() throws {
        let path = "/tmp/weft-netns-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        let inode = try NamespaceHandle.create(pinnedAt: path).inode
        defer { try? NamespaceHandle.unpin(path) }
        #expect(try NamespaceHandle.open(path).inode == inode)
        #expect(throws: NetlinkError.self) { try NamespaceHandle.create(pinnedAt: path) }
        try NamespaceHandle.unpin(path)
        #expect(access(path, F_OK) != 0)
        try NamespaceHandle.unpin(path)
    }

    @Test("a file that is no namespace is refused by name")
    func notANamespace() throws {
        let error = try #require(throws: NetlinkError.self) { try NamespaceHandle.open("/etc/hostname") }
        #expect("\(error)".contains("/etc/hostname"))
        #expect(throws: NetlinkError.self) { try NamespaceHandle.open("/nowhere/at/all") }
    }

    @Test("a subscriber hears what others change, and is told when it was too slow")
    func subscription() throws {
        let namespace = try NamespaceHandle.create()
        let connection = try NetlinkConnection(.route, namespace: namespace.descriptor)
        let subscription = try NetlinkSubscription(.route, groups: [1], namespace: namespace.descriptor)
        func setUp(_ up: UInt32) -> NetlinkRequest {
            var writer = NetlinkWriter()
            writer.put(UInt32(0))
            writer.put(UInt32(1))  // lo
            writer.put(up)
            writer.put(UInt32(1))
            return NetlinkRequest(type: 16, body: writer.bytes, subject: "set lo")
        }
        try connection.perform(setUp(1))
        #expect(subscription.wait(milliseconds: 2000))
        var heard = 0
        var lost = 0
        func count(_ notification: NetlinkNotification) {
            switch notification {
            case .message(let message):
                #expect(message.type == 16)
                heard += 1
            case .lost: lost += 1
            }
        }
        #expect(try subscription.drain(count))
        #expect(heard >= 1 && lost == 0)
        var small: CInt = 1
        setsockopt(subscription.descriptor, SOL_SOCKET, SO_RCVBUF, &small, 4)
        for turn in 0..<200 { try connection.perform(setUp(UInt32(turn & 1))) }
        while try !subscription.drain(count) {}
        #expect(lost >= 1)
    }

    @Test("an attribute beyond 64 KiB is never sent cut off")
    func oversized() throws {
        var writer = NetlinkWriter()
        writer.attribute(1, [UInt8](repeating: 0, count: 65532))
        #expect(writer.overflowed)
        #expect(writer.count == 0)
        writer = NetlinkWriter()
        writer.nest(1) { for _ in 0..<3 { $0.attribute(2, [UInt8](repeating: 0, count: 30000)) } }
        #expect(writer.overflowed)
        #expect(writer.count == 0)
        let connection = try NetlinkConnection(.route)
        #expect(throws: NetlinkError.self) { try connection.send(writer, subject: "x") }
    }
}

@Suite("Netlink bytes that nobody meant")
struct NetlinkParserTests {
    /// A datagram with an answer, a dump part with a nest, and a capped error with words.
    private static let valid: [UInt8] = {
        var writer = NetlinkWriter()
        writer.message(type: 0x10, flags: .multi, sequence: 7) { writer in
            writer.put(UInt32(0))
            writer.nest(1) { nest in
                nest.attribute(2, "text")
                nest.attribute(3, bigEndian: UInt32(5))
            }
            writer.flag(4)
        }
        writer.message(type: 2, flags: [.capped, .extendedAck], sequence: 8) { writer in
            writer.put(Int32(-17))
            for _ in 0..<4 { writer.put(UInt32(16)) }
            writer.attribute(1, "no such thing")
            writer.attribute(2, UInt32(20))
        }
        writer.message(type: 3, flags: .multi, sequence: 7) { $0.put(Int32(0)) }
        return writer.bytes
    }()

    /// Reads all there is to read; the result only keeps the work from being removed.
    @discardableResult
    private static func readEverything(_ bytes: [UInt8]) -> Int {
        func count(_ attributes: NetlinkAttributes, depth: Int) -> Int {
            attributes.reduce(0) { sum, attribute in
                sum + 1 + (attribute.string?.count ?? 0) + Int(attribute.u8 ?? 0) + Int(attribute.u16BigEndian ?? 0)
                    + (attribute.u32 == nil ? 0 : 1) + (attribute.u64BigEndian == nil ? 0 : 1)
                    + (attribute.address == nil ? 0 : 1)
                    + (depth < 4 ? count(attribute.nested, depth: depth + 1) : 0)
            }
        }
        return bytes.withUnsafeBytes { buffer in
            NetlinkMessages(buffer).reduce(0) { sum, message in
                let verdict = NetlinkAcknowledgement(message)
                return sum + 1 + (verdict?.text.count ?? 0) + count(message.attributes(after: 4), depth: 0)
                    + count(message.attributes(after: 16), depth: 0) + count(message.attributes(after: 0), depth: 0)
            }
        }
    }

    @Test("what we write, we read")
    func roundTrip() throws {
        let seen: [(UInt16, UInt32, NetlinkAcknowledgement?)] = Self.valid.withUnsafeBytes { buffer in
            NetlinkMessages(buffer).map { ($0.type, $0.sequence, NetlinkAcknowledgement($0)) }
        }
        #expect(seen.map(\.0) == [0x10, 2, 3])
        #expect(seen.map(\.1) == [7, 8, 7])
        #expect(seen[0].2 == nil)
        #expect(seen[1].2?.errno == 17)
        #expect(seen[1].2?.text == "no such thing")
        #expect(seen[1].2?.offset == 20)
        #expect(seen[2].2?.errno == 0)
    }

    @Test("every prefix, and every byte changed to the values that hurt lengths")
    func prefixesAndFlips() {
        for length in 0...Self.valid.count { Self.readEverything(Array(Self.valid.prefix(length))) }
        for position in Self.valid.indices {
            for value: UInt8 in [0, 1, 2, 3, 4, 5, 0x10, 0x7F, 0x80, 0xFE, 0xFF] {
                var bytes = Self.valid
                bytes[position] = value
                Self.readEverything(bytes)
            }
        }
    }

    @Test("random bytes and random damage never trap", arguments: 0..<8)
    func fuzz(seed: Int) {
        var random = SplitMix64(seed: UInt64(seed))
        for _ in 0..<4000 {
            var bytes = Self.valid
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            Self.readEverything(bytes)
            Self.readEverything(
                (0..<Int.random(in: 0..<96, using: &random)).map { _ in UInt8.random(in: 0...40, using: &random) })
        }
    }
}
