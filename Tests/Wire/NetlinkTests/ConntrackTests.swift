import Bytes
import Glibc
import Testing

@testable import Netlink

@Suite("Conntrack")
struct ConntrackTests {
    /// Sends a datagram within the namespace, so that the kernel tracks a flow.
    private static func send(from source: String, _ port: UInt16, to destination: String, _ toPort: UInt16) throws {
        func address(_ text: String, _ port: UInt16) -> sockaddr_in {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            inet_pton(AF_INET, text, &address.sin_addr)
            return address
        }
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(descriptor) }
        var (from, to) = (address(source, port), address(destination, toPort))
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafePointer(to: &from) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
        }
        let sent = withUnsafePointer(to: &to) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { sendto(descriptor, "x", 1, 0, $0, size) }
        }
        guard bound == 0, sent == 1 else { throw NetlinkError(errno: errno, subject: "send") }
    }

    @Test("flows are counted, found by what the kernel filters, and forgotten one by one")
    func flows() throws {
        let bench = try NFBench()
        // Tracking starts with the first rule that looks at it.
        try bench.nft(
            "-f -", input: "table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }")
        try bench.namespace.run {
            let route = try NetlinkConnection(.route)
            var up = NetlinkWriter()
            for word: UInt32 in [0, 1, 1, 1] { up.put(word) }
            try route.perform(NetlinkRequest(type: 16, body: up.bytes, subject: "set lo up"))
            for port: UInt16 in 5001...5004 { try Self.send(from: "127.0.0.1", port, to: "127.0.0.2", 53) }
            try Self.send(from: "127.0.0.1", 5005, to: "127.0.0.3", 53)
            try Self.send(from: "127.0.0.1", 5006, to: "127.0.0.2", 54)
        }
        let conntrack = try ConntrackConnection(namespace: bench.namespace.descriptor)
        #expect(try conntrack.count() >= 6)
        let two = try #require(IPAddress("127.0.0.2"))
        let filter = ConntrackFilter(.v4, transport: .udp, destination: two, destinationPort: 53)
        let found = try conntrack.flows(filter)
        #expect(found.map(\.original.sourcePort.rawValue).sorted() == [5001, 5002, 5003, 5004])
        #expect(found.allSatisfy { $0.reply.source == two && $0.timeout > 0 && !$0.isDestinationNAT })
        #expect(try conntrack.flows(ConntrackFilter(.v4, transport: .udp, destination: two)).count == 5)
        #expect(try conntrack.flows(ConntrackFilter(.v4, transport: .tcp)).isEmpty)
        #expect(try conntrack.flows(ConntrackFilter(.v6)).isEmpty)
        #expect(try conntrack.delete(Array(found.prefix(3))) == 3)
        #expect(try conntrack.flows(filter).map(\.original) == [found[3].original])
        #expect(try conntrack.delete(found) == 1)
        #expect(try conntrack.flows(filter).isEmpty)
        #expect(try conntrack.flows(ConntrackFilter(.v4, transport: .udp)).count == 2)
    }
}
