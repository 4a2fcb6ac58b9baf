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
}
