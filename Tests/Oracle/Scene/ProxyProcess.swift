import Bytes
import Glibc
import JSON
import Reactor
import TestSupport

/// A proxy that takes Envoy's command line.
struct ProxyProgram: Sendable {
    /// `envoy` or `weft-proxy`, for texts.
    var name: String
    var path: String

    /// What it says to `--help`: flags that it does not name are not given to it.
    private let help: String

    init(name: String, path: String, on loop: EventLoop) async throws {
        (self.name, self.path) = (name, path)
        help = try await ChildProcess.run(.init([path, "--help"]), on: loop).text
    }

    private func known(_ flags: [[String]]) -> [String] { flags.filter { help.contains($0[0]) }.flatMap(\.self) }

    func command(_ config: String, folder: String) -> ChildProcess.Configuration {
        var command = ChildProcess.Configuration(
            [path, "-c", config, "--concurrency", "1"]
                + known([
                    ["--disable-hot-restart"], ["--admin-address-path", "\(folder)/admin"],
                    ["--file-flush-interval-msec", "5"], ["--log-level", "info"],
                ]))
        command.deathSignal = SIGKILL
        return command
    }

    /// `--mode validate`: whether the config was accepted, and what was said.
    func validates(_ config: String, on loop: EventLoop) async throws -> (accepted: Bool, text: String) {
        let output = try await ChildProcess.run(
            .init([path, "--mode", "validate", "-c", config] + known([["--log-level", "error"]])), on: loop,
            timeout: .seconds(60))
        return (output.status.isSuccess, output.text + output.errorText)
    }
}

/// A running proxy and its admin address. On its loop.
final class ProxyProcess: @unchecked Sendable {
    private let child: ChildProcess
    private let loop: EventLoop
    private let folder: String
    private var adminPort: UInt16 = 0

    private init(_ child: ChildProcess, _ loop: EventLoop, _ folder: String) {
        self.child = child
        self.loop = loop
        self.folder = folder
    }

    /// Starts it and waits until it is ready. An admin address is added when the config has none.
    /// A proxy that writes no admin address is ready when it takes connections on all of `ports`.
    static func start(
        _ program: ProxyProgram, config: String, folder: String, ports: [UInt16], on loop: EventLoop
    ) async throws -> ProxyProcess {
        let file = "\(folder)/config.yaml"
        let admin = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n"
        try Files.writeAtomically(file, config.hasPrefix("admin:") ? config : admin + config)
        let log = open("\(folder)/proxy.log", O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0o600)
        defer { close(log) }
        var command = program.command(file, folder: folder)
        command.descriptors = [1: log, 2: log]
        let child = try ChildProcess(command, on: loop)
        let process = ProxyProcess(child, loop, folder)
        let isReady = await holds(within: .seconds(60), on: loop) {
            if child.finishedStatus != nil { return true }
            guard let text = try? Files.readText("\(folder)/admin"), let address = IPEndpoint(text.trimmed) else {
                return await process.accepts(ports)
            }
            process.adminPort = address.port.rawValue
            guard let ready = try? await process.admin("GET", "/ready") else { return false }
            return ready.status == 200
        }
        guard isReady, child.finishedStatus == nil else {
            let words = process.obituary ?? "it is not ready after a minute: \(process.lastWords)"
            await process.stop()
            throw RowError("\(program.name): \(words)")
        }
        return process
    }

    private func accepts(_ ports: [UInt16]) async -> Bool {
        for port in ports {
            guard let connection = try? await StreamConnection.connect(to: .ip(.loopbackV4, Port(port)), on: loop)
            else { return false }
            connection.close()
        }
        return true
    }

    func stop() async {
        child.kill(SIGKILL)
        _ = try? await child.exitStatus
    }

    var obituary: String? { child.finishedStatus.map { "the proxy ended with \($0): \(lastWords)" } }

    private var lastWords: String {
        let log = (try? Files.readText("\(folder)/proxy.log")) ?? ""
        let lines = log.split(separator: "\n")
        let grave = lines.filter { $0.contains("[critical]") || $0.contains("[error]") || $0.hasPrefix("error") }
        return (grave.isEmpty ? lines.suffix(12) : grave.suffix(4)).joined(separator: "\n")
    }

    /// One request to the admin port.
    func admin(_ method: String, _ path: String) async throws -> HTTP1Message {
        guard adminPort != 0 else { throw RowError("the proxy has no admin port") }
        let wire = try Wire(to: adminPort, on: loop)
        defer { wire.close() }
        wire.send(Array("\(method) \(path) HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n".utf8))
        var answer: HTTP1Message?
        _ = await holds(within: .seconds(10), on: loop) {
            var reader = HTTP1Reader()
            answer = reader.next(.response(method: method), in: wire.received, hasEnded: wire.end != nil)
            return answer != nil || wire.end != nil || wire.isClosed
        }
        guard let answer else { throw RowError("no answer from the admin port to \(method) \(path)") }
        return answer
    }
}

extension HTTP1Message {
    /// An admin page as it is compared.
    func lines(_ view: AdminView) -> [String] {
        let text = String(decoding: body, as: UTF8.self)
        let head = [startLine, "  content-type: \(self["content-type"] ?? "-")"]
        switch view {
        case .head: return head
        case .text: return head + text.split(separator: "\n").map { "  \($0)" }
        case .shape:
            guard let page = try? JSONValue.parse(body) else { return head + ["  no JSON: \(text.prefix(200))"] }
            var paths: Set<String> = []
            Self.collect(page, "", &paths)
            return head + paths.sorted().map { "  \($0)" }
        case .metrics: return head + Self.metrics(text)
        }
    }

    private static func collect(_ value: JSONValue, _ path: String, _ paths: inout Set<String>) {
        switch value {
        case .object(let members): for (key, member) in members { collect(member, "\(path).\(key)", &paths) }
        case .array(let elements): for element in elements { collect(element, path + "[]", &paths) }
        default: paths.insert(path)
        }
    }

    /// Each metric's name with the names of its labels, and its type.
    private static func metrics(_ text: String) -> [String] {
        var found: Set<String> = []
        for line in text.split(separator: "\n") {
            if line.hasPrefix("# TYPE ") { found.insert("  \(line)") }
            guard !line.hasPrefix("#"), let open = line.firstIndex(of: "{"), let close = line.lastIndex(of: "}")
            else { continue }
            let labels = line[line.index(after: open)..<close].split(separator: ",").map { $0.prefix { $0 != "=" } }
            found.insert("  \(line[..<open]){\(labels.sorted().joined(separator: ","))}")
        }
        return found.sorted()
    }
}

extension String {
    /// Without blanks and line ends around it.
    var trimmed: String {
        var rest = self[...]
        while rest.last?.isWhitespace == true { rest.removeLast() }
        return String(rest.drop { $0.isWhitespace })
    }
}

/// Where temporary folders go.
var temporaryFolder: String { getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp" }
