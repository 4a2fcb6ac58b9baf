import Bytes
import Glibc
import Reactor
import Testing

@testable import Proxy

@Suite("Listeners", .timeLimit(.minutes(1)))
struct ListenerTests {
    private static let types = "type.googleapis.com/envoy.extensions.filters.network"

    /// A chain that says something and then passes no bytes, or that sends back what comes.
    private static func says(_ text: String, _ match: String = "") -> String {
        "{ \(match) filters: [{ name: d, typed_config: { \"@type\": \(types).direct_response.v3.Config, response: { inline_string: \(text) } } }] }"
    }

    private static func echo(_ match: String = "", name: String = "") -> String {
        "{ name: \"\(name)\", \(match) filters: [{ name: e, typed_config: { \"@type\": \(types).echo.v3.Echo } }] }"
    }

    private static func listener(_ chains: [String], _ more: String = "", address: String? = nil) -> String {
        let address = address ?? "{ socket_address: { address: 127.0.0.1, port_value: 0 } }"
        return """
            static_resources:
              listeners:
              - { name: main, address: \(address), \(more) filter_chains: [\(chains.joined(separator: ", "))] }
            """
    }

    private func client(_ bench: ProxyBench, _ address: SocketAddress) async throws -> StreamConnection {
        try await StreamConnection.connect(to: address, on: bench.group.all[0])
    }

    @Test("all addresses of a listener are served, Unix sockets by every worker, with their mode")
    func addresses() async throws {
        let path = "/tmp/weft-listener-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"
        let abstract = "weft-listener-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        let more =
            "additional_addresses: [{ address: { pipe: { path: \(path), mode: 384 } } }, { address: { pipe: { path: \"@\(abstract)\" } } }, { address: { socket_address: { address: \"::1\", port_value: 0 } } }],"
        try await ProxyBench.run(Self.listener([Self.echo()], more), workers: 2) { bench in
            let found = await bench.addresses(of: "main")
            #expect(found.count == 4)
            #expect(found.contains(.unix(path: path)) && found.contains(.abstract(name: abstract)))
            var status = stat()
            #expect(stat(path, &status) == 0)
            #expect(status.st_mode & 0o777 == 0o600)
            for address in found {
                for _ in 0..<4 {
                    let client = try await client(bench, address)
                    try await client.send("hello")
                    #expect(try await client.text(5) == "hello")
                }
            }
        }
        #expect(access(path, F_OK) != 0)
    }

    @Test("a port that another program listens on is refused at the start, in Envoy's words")
    func takenPort() async throws {
        let group = try EventLoopGroup(count: 1, name: "holder")
        let loop = group.all[0]
        let holder = try await loop.perform { try Listener(.ip(.loopbackV4, 0), on: loop) { $0.close() } }
        let port = try #require(holder.address.port?.rawValue)
        let place = "{ socket_address: { address: 127.0.0.1, port_value: \(port) } }"
        let error = await #expect(throws: ListenerRefusal.self) {
            try await ProxyBench.run(Self.listener([Self.echo()], address: place), workers: 2) { _ in }
        }
        #expect(error.map { "\($0)" } == "cannot bind '127.0.0.1:\(port)': Address already in use")
        try await loop.perform { holder.close() }
        try await ProxyBench.run(Self.listener([Self.echo()], address: place), workers: 2) { bench in
            let found = await bench.addresses(of: "main")
            #expect(found.first?.port?.rawValue == port)
        }
        await group.shutdown()
    }

    @Test("exact_balance gives every worker as many connections, whoever accepted them, and again after some have gone")
    func balance() async throws {
        let more = "connection_balance_config: { exact_balance: {} },"
        try await ProxyBench.run(Self.listener([Self.echo()], more), workers: 4) { bench in
            let address = try await bench.address()
            func perWorker() async -> [Int64] {
                let samples = await bench.server.stats().samples
                return samples.filter { $0.name.contains("worker_") && $0.leaf == "downstream_cx_active" }.map(\.value)
            }
            func open(_ count: Int) async throws -> [StreamConnection] {
                var clients: [StreamConnection] = []
                for _ in 0..<count {
                    let client = try await client(bench, address)
                    try await client.send("hello")
                    #expect(try await client.text(5) == "hello")
                    clients.append(client)
                }
                return clients
            }
            let clients = try await open(20)
            var found = await perWorker()
            #expect(found == [5, 5, 5, 5])
            for client in clients[..<13] { client.close() }
            try await bench.until { await perWorker().reduce(0, +) == 7 }
            let others = try await open(5)
            found = await perWorker()
            #expect(found == [3, 3, 3, 3])
            // Another listener in its place takes over, and keeps what there is.
            try await bench.reload(Self.listener([Self.echo()], "enable_reuse_port: true,"))
            try await others[0].send("again")
            #expect(try await others[0].text(5) == "again")
            _ = try await open(1)
        }
    }

    @Test("a server that speaks first does not wait for an inspector that is disabled for its port")
    func filterDisabled() async throws {
        let inspector = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
        let more = """
            listener_filters_timeout: 0s, listener_filters: [{ name: t, filter_disabled: { destination_port_range: { start: 1, end: 65536 } }, typed_config: { "@type": \(inspector) } }],
            """
        try await ProxyBench.run(Self.listener([Self.says("hello")], more)) { bench in
            let client = try await client(bench, try await bench.address())
            #expect(try await client.rest() == "hello")
        }
    }

    @Test("what a client says with its end in one piece passes inspection whole")
    func inspectedEnd() async throws {
        let inspector = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
        let more = "listener_filters: [{ name: t, typed_config: { \"@type\": \(inspector) } }],"
        try await ProxyBench.run(Self.listener([Self.echo()], more)) { bench in
            let address = try await bench.address()
            for _ in 0..<16 {
                let client = try await client(bench, address)
                try await client.send("all of it")
                await client.shutdownWrite()
                #expect(try await client.rest() == "all of it")
            }
        }
    }

    @Test("a changed chain drains alone: connections of chains that stay live on")
    func chainUpdate() async throws {
        var options = ServerOptions()
        options.drainTime = .milliseconds(1)
        options.drainsAtOnce = true
        let local = "filter_chain_match: { source_prefix_ranges: [{ address_prefix: 127.0.0.1, prefix_len: 32 }] },"
        let other = "filter_chain_match: { source_prefix_ranges: [{ address_prefix: 127.0.0.2, prefix_len: 32 }] },"
        let before = Self.listener([Self.echo(local, name: "a"), Self.echo(other, name: "b")])
        let after = Self.listener([Self.echo(local, name: "a"), Self.says("changed", other)])
        try await ProxyBench.run(before, options: options) { bench in
            let address = try await bench.address()
            let stays = try await client(bench, address)
            let goes = try await StreamConnection.connect(
                to: address, on: bench.group.all[0], from: .ip(IPAddress("127.0.0.2")!, 0))
            for client in [stays, goes] {
                try await client.send("x")
                #expect(try await client.text(1) == "x")
            }
            try await bench.reload(after)
            #expect(try await bench.address() == address)
            #expect((try? await goes.rest()) ?? "" == "")
            try await stays.send("y")
            #expect(try await stays.text(1) == "y")
            let fresh = try await StreamConnection.connect(
                to: address, on: bench.group.all[0], from: .ip(IPAddress("127.0.0.2")!, 0))
            #expect(try await fresh.rest() == "changed")
        }
    }

    @Test("a connection that a new chain is for leaves the chain that it has, which stays for others")
    func closerChain() async throws {
        var options = ServerOptions()
        options.drainTime = .milliseconds(1)
        options.drainsAtOnce = true
        let inspectors = ["http_inspector.v3.HttpInspector", "tls_inspector.v3.TlsInspector"].map {
            "{ name: \"\($0)\", typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.\($0) } }"
        }
        let more = "listener_filters: [\(inspectors.joined(separator: ", "))],"
        let all = Self.echo(
            "filter_chain_match: { source_prefix_ranges: [{ address_prefix: 127.0.0.0, prefix_len: 8 }] },")
        func closer(_ match: String) -> String { Self.says("closer", "filter_chain_match: { \(match) },") }
        let one = "source_prefix_ranges: [{ address_prefix: 127.0.0.2, prefix_len: 32 }]"
        let http =
            "source_prefix_ranges: [{ address_prefix: 127.0.0.3, prefix_len: 32 }], application_protocols: [http/1.1]"
        try await ProxyBench.run(Self.listener([all], more), options: options) { bench in
            let address = try await bench.address()
            func echoing(_ source: String, _ text: String) async throws -> StreamConnection {
                let client = try await StreamConnection.connect(
                    to: address, on: bench.group.all[0], from: .ip(IPAddress(source)!, 0))
                try await client.send(text)
                #expect(try await client.text(text.utf8.count) == text)
                return client
            }
            let request = "GET / HTTP/1.1\r\n\r\n"
            let goes = [try await echoing("127.0.0.2", "no request\r\n"), try await echoing("127.0.0.3", request)]
            let stays = [
                try await echoing("127.0.0.1", "no request\r\n"), try await echoing("127.0.0.3", "no request\r\n"),
            ]
            try await bench.reload(Self.listener([all, closer(one), closer(http)], more))
            for client in goes { #expect((try? await client.rest()) ?? "" == "") }
            for client in stays {
                try await client.send("y")
                #expect(try await client.text(1) == "y")
            }
        }
    }

    @Test("a removed listener takes no connection more, and closes what is left after the drain time")
    func removal() async throws {
        var options = ServerOptions()
        options.drainTime = .milliseconds(1)
        try await ProxyBench.run(Self.listener([Self.echo()]), options: options) { bench in
            let address = try await bench.address()
            let client = try await client(bench, address)
            try await client.send("x")
            #expect(try await client.text(1) == "x")
            try await bench.reload("static_resources: {}")
            #expect((try? await client.rest()) ?? "" == "")
            await #expect(throws: SystemError.self) { _ = try await self.client(bench, address) }
        }
    }

    @Test("a listener that moves to another address listens there, and its old connections drain")
    func move() async throws {
        var options = ServerOptions()
        options.drainTime = .milliseconds(1)
        let name = "weft-moved-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try await ProxyBench.run(Self.listener([Self.echo()]), options: options) { bench in
            let old = try await bench.address()
            let client = try await client(bench, old)
            try await client.send("x")
            #expect(try await client.text(1) == "x")
            try await bench.reload(Self.listener([Self.echo()], address: "{ pipe: { path: \"@\(name)\" } }"))
            #expect(try await bench.address() == .abstract(name: name))
            #expect((try? await client.rest()) ?? "" == "")
            let fresh = try await self.client(bench, .abstract(name: name))
            try await fresh.send("y")
            #expect(try await fresh.text(1) == "y")
        }
    }

    @Test("options that are no sockets' are refused by the kernel's name for them")
    func socketOptions() async throws {
        let good = "tcp_keepalive: { keepalive_time: 7 }, socket_options: [{ level: 1, name: 8, int_value: 65536 }],"
        try await ProxyBench.run(Self.listener([Self.echo()], good)) { bench in
            let client = try await client(bench, try await bench.address())
            try await client.send("x")
            #expect(try await client.text(1) == "x")
        }
        let bad = "socket_options: [{ description: nonsense, level: 1, name: 9999, int_value: 1 }],"
        await #expect(throws: ListenerRefusal.self) {
            try await ProxyBench.run(Self.listener([Self.echo()], bad)) { _ in }
        }
    }
}
