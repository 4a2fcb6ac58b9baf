import Bytes
import Glibc
import Reactor
import TLS

/// Many simulated proxies, in a process of their own so that their CPU and memory are not the control plane's.
struct ProxyFleet {
    /// How they reach the control plane, and what they say there.
    struct Way: Sendable {
        /// `/path/of/a/socket` or a port of this machine.
        var address: String
        var form: Subscription.Form
        /// A folder with `roots.pem`, `cert.pem` and `key.pem`; nil for plain text.
        var identity: String?

        var arguments: [String] { [address, form.rawValue, identity ?? "-"] }
    }

    private let process: ChildProcess
    private let output: StreamConnection
    private var text = ""

    /// All have everything when this returns.
    init(_ way: Way, count: Int, services: Int, others: [String] = [], on loop: EventLoop) async throws {
        let (reading, writing) = try ChildProcess.makePipe()
        var configuration = ChildProcess.Configuration(
            ["/proc/self/exe", "fleet"] + way.arguments + ["\(count)", "\(services)", MeshCluster.builtIn] + others)
        configuration.descriptors = [1: writing, 2: 2]
        configuration.deathSignal = SIGKILL
        process = try ChildProcess(configuration, on: loop)
        close(writing)
        output = try await StreamConnection.adopt(reading, on: loop)
        guard try await line() == "ready" else { throw Failure("the proxies did not connect") }
    }

    /// When the next change had reached the last of them, as `monotonic` has it.
    mutating func reached() async throws -> Double {
        guard let time = Double(try await line()) else { throw Failure("the proxies are gone") }
        return time
    }

    func end() async {
        process.kill(SIGKILL)
        _ = try? await process.exitStatus
        output.close()
    }

    private mutating func line() async throws -> String {
        while !text.contains("\n") {
            let bytes = try await output.read()
            if bytes.isEmpty { return "" }
            text += String(decoding: bytes, as: UTF8.self)
        }
        guard let end = text.firstIndex(of: "\n") else { return "" }
        defer { text = String(text[text.index(after: end)...]) }
        return String(text[..<end])
    }

    // MARK: The other process

    /// - Parameter arguments: `Way.arguments`, the number of proxies, that of Services, and other Services.
    static func run(_ arguments: [String]) async throws {
        guard arguments.count >= 5, let form = Subscription.Form(rawValue: arguments[1]), let count = Int(arguments[3]),
            let services = Int(arguments[4])
        else { throw Failure("fleet: not enough arguments") }
        let subscription = Subscription(form, services: services, others: Array(arguments[5...]))
        var address = SocketAddress.unix(path: arguments[0])
        if let port = UInt16(arguments[0]) { address = .ip(.loopbackV4, Port(rawValue: port), scope: 0) }
        let tls = arguments[2] == "-" ? nil : try context(arguments[2])
        let loop = try EventLoopGroup(count: 1, name: "fleet").all[0]
        let fleet = SimulatedFleet(subscription, address, tls, count, loop)
        try await loop.perform { fleet.launch() }
        try await fleet.over.value()
    }

    private static func context(_ folder: String) throws -> TLSContext {
        try TLSContext(
            connecting: TrustPool(pem: Files.readText(folder + "/roots.pem")),
            identity: TLSIdentity(
                certificatePEM: Files.readText(folder + "/cert.pem"), keyPEM: Files.readText(folder + "/key.pem")),
            protocols: ["h2"], verification: .trust)
    }
}
