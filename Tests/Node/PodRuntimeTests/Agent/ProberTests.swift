import Bytes
import Glibc
import HTTP
import JSON
import Reactor
import Testing

@testable import PodRuntime

@Suite("probes over the network")
struct ProberTests {
    /// A server on a port of its own that answers by path: `/NNN` with that status, `/slow` never.
    private func withServer(
        _ body: @escaping @Sendable (EventLoop, UInt16) async throws -> Void
    ) async throws {
        let group = try EventLoopGroup(count: 1, name: "probe")
        let server = HTTPServer(
            group: group, address: .ip(.loopbackV4, 0),
            handler: HTTPClosureHandler { request, response in
                if request.path == "/slow" {
                    try? await response.loop.sleep(for: .seconds(20))
                } else if request.path == "/agent" {
                    let isProbe = request.headers["user-agent"] == Prober.userAgent && request.headers["x-own"] == "1"
                    await response.send(status: isProbe ? 200 : 400, text: "")
                } else {
                    await response.send(status: Int(request.path.dropFirst()) ?? 404, text: "")
                }
            })
        let port = try #require(try await server.start().port).rawValue
        do {
            try await body(group.next, port)
        } catch {
            await group.shutdown()
            throw error
        }
        await group.shutdown()
    }

    private func prober(_ loop: EventLoop, port: UInt16 = 1) throws -> Prober {
        let ports: JSONValue = [["name": "web", "containerPort": .int(Int64(port))]]
        let pod = try PodFixture.spec(containers: [PodFixture.container("main", ["ports": ports])])
        return Prober(
            container: pod.containers[0], containerID: "c", address: "127.0.0.1", loop: loop,
            exec: { _, _ in OCIRuntime.ExecResult(code: 0, text: "") })
    }

    private func get(_ path: String, _ port: PortReference, headers: [HTTPAction.Header] = []) -> ActionSpec {
        .http(HTTPAction(host: "", port: port, path: path, usesTLS: false, headers: headers))
    }

    @Test("an http probe succeeds from 200 to 399, finds ports by name, and names itself as upstream's do")
    func http() async throws {
        try await withServer { loop, port in
            let prober = try prober(loop, port: port)
            for (status, success) in [(200, true), (204, true), (302, true), (399, true), (400, false), (500, false)] {
                let answer = await prober.run(get("/\(status)", .name("web")), timeout: .seconds(60))
                #expect(answer.success == success, "\(status)")
                if !success { #expect(answer.output == "HTTP probe failed with statuscode: \(status)") }
            }
            let header = HTTPAction.Header(name: "X-Own", value: "1")
            #expect(await prober.run(get("/agent", .number(port), headers: [header]), timeout: .seconds(60)).success)
        }
    }

    @Test("a server that does not answer in time, and one that is not there, fail the probe with a reason")
    func failures() async throws {
        try await withServer { loop, port in
            let prober = try prober(loop, port: port)
            let slow = await prober.run(get("/slow", .number(port)), timeout: .milliseconds(200))
            #expect(!slow.success && !slow.output.isEmpty)
            let none = await prober.run(get("/", .name("none")), timeout: .seconds(1))
            #expect(none.output == "container main has no port none")
            let closed = await prober.run(get("/", .number(1)), timeout: .seconds(1))
            #expect(!closed.success && closed.output.contains("refused"))
        }
    }

    @Test("a tcp probe succeeds where something listens")
    func tcp() async throws {
        try await withServer { loop, port in
            let prober = try prober(loop, port: port)
            #expect(await prober.run(.tcp(host: "", port: .number(port)), timeout: .seconds(1)).success)
            #expect(await prober.run(.tcp(host: "localhost", port: .name("web")), timeout: .seconds(1)).success)
            let closed = await prober.run(.tcp(host: "", port: .number(1)), timeout: .seconds(1))
            #expect(!closed.success && closed.output.contains("refused"))
        }
    }

    @Test("a gRPC probe asks the standard health service, and says what it answered", .timeLimit(.minutes(2)))
    func grpc() async throws {
        let group = try EventLoopGroup(count: 1, name: "probe")
        let server = HTTPServer(
            group: group, address: .ip(.loopbackV4, 0),
            handler: HTTPClosureHandler { request, response in
                let isCall =
                    request.path == "/grpc.health.v1.Health/Check"
                    && request.headers["content-type"] == "application/grpc"
                    && request.headers["te"] == "trailers"
                guard isCall else { return await response.send(status: 400, text: "") }
                let service = String(decoding: request.body.dropFirst(7), as: UTF8.self)
                guard service != "nobody" else {
                    return await response.send(
                        status: 200,
                        headers: [
                            "content-type": "application/grpc", "grpc-status": "5", "grpc-message": "unknown service",
                        ])
                }
                try? await response.start(status: 200, headers: ["content-type": "application/grpc"])
                try? await response.write([0, 0, 0, 0, 2, 8, service == "sick" ? 2 : 1])
                await response.finish(trailers: ["grpc-status": "0"])
            })
        let port = try #require(try await server.start().port).rawValue
        let prober = try prober(group.next)
        for (service, output) in [
            ("", ""), ("cart", ""), ("sick", "service unhealthy (responded with \"NOT_SERVING\")"),
            ("nobody", "gRPC probe failed with status 5: unknown service"),
        ] {
            let answer = await prober.run(.grpc(port: port, service: service), timeout: .seconds(60))
            #expect(answer.success == output.isEmpty, "\(service)")
            #expect(answer.output == output)
        }
        await group.shutdown()
    }

    @Test("questions to the pod leave from the address that its network knows, others do not")
    func source() async throws {
        let group = try EventLoopGroup(count: 1, name: "probe")
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var own = sockaddr_in()
        own.sin_family = sa_family_t(AF_INET)
        own.sin_addr.s_addr = INADDR_ANY
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let size = length
        let port = withUnsafeMutablePointer(to: &own) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address -> UInt16 in
                guard bind(listener, address, size) == 0, listen(listener, 8) == 0,
                    getsockname(listener, address, &length) == 0
                else { return 0 }
                return UInt16(bigEndian: pointer.pointee.sin_port)
            }
        }
        try #require(port > 0)
        var prober = try prober(group.next)
        prober.source = IPAddress("127.0.0.9")
        for (host, from) in [("", "127.0.0.9"), ("127.0.0.2", "127.0.0.1")] {
            #expect(await prober.run(.tcp(host: host, port: .number(port)), timeout: .seconds(60)).success)
            var peer = sockaddr_in()
            let connection = withUnsafeMutablePointer(to: &peer) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { accept(listener, $0, &length) }
            }
            close(connection)
            #expect(IPAddress(v4: UInt32(bigEndian: peer.sin_addr.s_addr)).description == from)
        }
        await group.shutdown()
    }
}
