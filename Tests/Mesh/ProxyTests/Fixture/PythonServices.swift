import Glibc
import JSON
import Reactor
import TestSupport

/// The services of `services.py`, run by Python's own gRPC, and what they were asked.
final class PythonServices: Sendable {
    let port: UInt16
    private let scratch: ScratchFolder
    private let child: ChildProcess

    static let folder = #filePath.split(separator: "/").dropLast(2).reduce("") { "\($0)/\($1)" } + "/Services"

    /// PYTHONPATH of what they need; nil when PyPI cannot be had.
    static let library = ControlPlane.library

    /// Runs `body` beside them and ends them, whatever happens.
    static func run(_ body: (PythonServices) async throws -> Void) async throws {
        let group = try EventLoopGroup(count: 1, name: "services")
        do {
            let services = try await PythonServices(on: group.all[0])
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

    private init(on loop: EventLoop) async throws {
        scratch = try ScratchFolder()
        let log = open("\(scratch.path)/log", O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0o600)
        defer { close(log) }
        var command = ChildProcess.Configuration(["python3", "\(Self.folder)/services.py", scratch.path])
        command.environment = [
            "PATH=\(Environment["PATH"] ?? "/usr/bin:/bin")", "PYTHONDONTWRITEBYTECODE=1",
            "PYTHONPATH=\(Self.library ?? "")", "HOME=\(Environment["HOME"] ?? "/")",
        ]
        command.descriptors = [1: log, 2: log]
        command.deathSignal = SIGKILL
        let child = try await ChildProcess.start(command, on: loop)
        self.child = child
        let deadline = ContinuousClock.now + .seconds(60)
        while true {
            if let text = try? Files.readText("\(scratch.path)/port"), let port = UInt16(text) {
                self.port = port
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
