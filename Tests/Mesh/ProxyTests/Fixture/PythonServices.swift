import Glibc
import JSON
import Reactor
import TestSupport

/// The services of a script in `Services`, run by Python's own gRPC, and what they were asked.
final class PythonServices: Sendable {
    /// Where they listen, in the script's order.
    let ports: [UInt16]
    private let scratch: ScratchFolder
    private let child: ChildProcess

    static let folder = #filePath.split(separator: "/").dropLast(2).reduce("") { "\($0)/\($1)" } + "/Services"

    /// PYTHONPATH of what they need; nil when PyPI cannot be had.
    static let library = ControlPlane.library

    var port: UInt16 { ports[0] }

    /// Runs `body` beside them and ends them, whatever happens. `prepare` may put files into the script's folder.
    static func run(
        _ script: String = "services.py", library: String? = library, prepare: (String) throws -> Void = { _ in },
        _ body: (PythonServices) async throws -> Void
    ) async throws {
        let group = try EventLoopGroup(count: 1, name: "services")
        do {
            let services = try await PythonServices(script, library, prepare, on: group.all[0])
            do { try await body(services) } catch {
                await services.end()
                throw error
            }
            await services.end()
        } catch {
            await group.shutdown()
            throw error
        }
        await group.shutdown()
    }

    private init(
        _ script: String, _ library: String?, _ prepare: (String) throws -> Void, on loop: EventLoop
    ) async throws {
        scratch = try ScratchFolder()
        try prepare(scratch.path)
        let log = open("\(scratch.path)/log", O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0o600)
        defer { close(log) }
        var command = ChildProcess.Configuration(["python3", "\(Self.folder)/\(script)", scratch.path])
        command.environment = [
            "PATH=\(Environment["PATH"] ?? "/usr/bin:/bin")", "PYTHONDONTWRITEBYTECODE=1",
            "PYTHONPATH=\(library ?? "")", "HOME=\(Environment["HOME"] ?? "/")",
        ]
        command.descriptors = [1: log, 2: log]
        command.deathSignal = SIGKILL
        let child = try await ChildProcess.start(command, on: loop)
        self.child = child
        let deadline = ContinuousClock.now + .seconds(60)
        while true {
            if let text = try? Files.readText("\(scratch.path)/port") {
                ports = text.split(separator: " ").compactMap { UInt16($0) }
                return
            }
            guard ContinuousClock.now < deadline, child.finishedStatus == nil else {
                _ = child.kill(SIGKILL)
                let words = (try? Files.readText("\(scratch.path)/log")) ?? ""
                throw Unexpected("the services do not start: \(words.suffix(500))")
            }
            try await loop.sleep(for: .milliseconds(5))
        }
    }

    func signal(_ number: CInt) { _ = child.kill(number) }

    private func end() async {
        _ = child.kill(SIGKILL)
        _ = try? await child.exitStatus
    }

    /// Requests so far, as protobuf's library shows them.
    func requests() throws -> [JSONValue] {
        guard let text = try? Files.readText("\(scratch.path)/requests", limit: 16 << 20) else { return [] }
        return try text.split(separator: "\n").map { line in
            try JSONValue.parse(String(line.split(separator: "\t")[0]))
        }
    }

    /// YAML of a cluster for them.
    func cluster(_ name: String) -> String {
        """
          - name: \(name)
            connect_timeout: 5s
            typed_extension_protocol_options:
              envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
                explicit_http_config: { http2_protocol_options: {} }
            load_assignment:
              cluster_name: \(name)
              endpoints:
              - lb_endpoints:
                - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \(port) } } }
        """
    }
}
