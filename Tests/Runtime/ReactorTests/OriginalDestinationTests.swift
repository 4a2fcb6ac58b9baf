import Bytes
import Glibc
import Testing

@testable import Reactor

@Suite struct OriginalDestinationTests {
    @Test("where a client meant to go is known behind a redirection, in both families", .enabled(if: canRedirect))
    func redirected() async throws {
        try await withLoops { group in
            let namespace = try NetworkNamespace.make()
            defer { close(namespace) }
            let loop = group.all[0]
            func inside(_ script: String) async throws {
                var configuration = ChildProcess.Configuration(["sh", "-ec", script])
                configuration.networkNamespace = namespace
                let output = try await ChildProcess.run(configuration, on: loop, timeout: .seconds(60))
                try #require(output.status.isSuccess, "\(output.errorText)")
            }
            try await inside(
                """
                ip link set lo up
                ip -6 route add local 2001:db8::/64 dev lo
                ip route add local 192.0.2.0/24 dev lo
                nft -f - <<'END'
                table inet t {
                  chain output { type nat hook output priority -100; tcp dport 80 redirect to :15001; }
                }
                END
                """)
            for (bound, asked) in [
                ("0.0.0.0:15001", "192.0.2.7:80"), ("[::]:15001", "[2001:db8::7]:80"), ("[::]:15001", "192.0.2.7:80"),
                ("127.0.0.1:15001", "127.0.0.1:15001"),
            ] {
                let address = try #require(SocketAddress(bound))
                let target = try #require(IPEndpoint(asked))
                let (accepted, client) = try NetworkNamespace.withEntered(namespace) {
                    try Self.connection(to: SocketAddress(target), acceptedAt: address)
                }
                let seen = try await loop.perform {
                    // The stream closes its end of the connection.
                    try StreamSocket(adopting: accepted, on: loop).originalDestination
                }
                close(client)
                // Conntrack knows a connection that nobody translated too, under its own destination.
                #expect(seen == target, "\(bound) \(asked)")
            }
        }
    }

    private static func connection(
        to target: SocketAddress, acceptedAt address: SocketAddress
    ) throws -> (accepted: CInt, client: CInt) {
        let front = try checked("socket") { socket(address.familyNumber, SOCK_STREAM_, 0) }
        defer { close(front) }
        // The row before has left connections of this port behind.
        try setOption(front, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR")
        try address.withKernelAddress { (pointer, length) throws(SystemError) in
            _ = try checked("bind") { bind(front, pointer, length) }
        }
        _ = try checked("listen") { listen(front, 1) }
        let client = try checked("socket") { socket(target.familyNumber, SOCK_STREAM_, 0) }
        try target.withKernelAddress { (pointer, length) throws(SystemError) in
            _ = try checked("connect") { connect(client, pointer, length) }
        }
        return (try checked("accept") { accept(front, nil, nil) }, client)
    }

    private static let canRedirect = getuid() == 0 && access("/usr/sbin/nft", X_OK) == 0
}
