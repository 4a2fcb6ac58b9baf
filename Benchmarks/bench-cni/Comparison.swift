import Bytes
import Glibc
import JSON
import Netlink
import PodNetwork
import Reactor

/// Flags, all of which have defaults.
struct Options: Sendable {
    private let arguments: [String]
    init(_ arguments: [String]) { self.arguments = arguments }

    func number(_ name: String, _ standard: Int) -> Int {
        guard let index = arguments.firstIndex(of: "--\(name)"), index + 1 < arguments.count else { return standard }
        return Int(arguments[index + 1]) ?? standard
    }

    func has(_ name: String) -> Bool { arguments.contains("--\(name)") }
}

/// Runs every plugin in turn over the same pods, round by round, and prints one table.
struct Comparison {
    private let options: Options
    private let loop: EventLoop

    init(_ options: Options, on loop: EventLoop) {
        self.options = options
        self.loop = loop
    }

    func run() async throws {
        let pods = max(1, options.number("pods", 50))
        let rounds = max(1, options.number("rounds", 3))
        let bench = try Bench()
        defer { bench.clear() }
        let daemon = try await bench.startDaemon()
        var subjects = [bench.weftWithDaemon, bench.weftAlone]
        if let peer = bench.bridge {
            subjects.append(peer)
        } else {
            print("# no bridge plugin in /usr/lib/cni: apt-get install containernetworking-plugins")
        }
        print(
            "# \(rounds) rounds of \(pods) pods, each an ADD and then a DEL, one after the other; then all ADDs at once"
        )
        var samples = subjects.map { _ in Samples() }
        for _ in 0..<rounds {
            for (index, subject) in subjects.enumerated() {
                try await bench.measure(subject, pods: pods, on: loop, into: &samples[index])
            }
        }
        await daemon.stop()
        print(rows(subjects, samples))
    }

    private func rows(_ subjects: [Plugin], _ samples: [Samples]) -> String {
        let rows = zip(subjects, samples).map { subject, sample in
            (
                subject.name, sample.add.quantile(0.5), sample.add.quantile(0.99), sample.delete.quantile(0.5),
                sample.together.quantile(0.5)
            )
        }
        if options.has("json") {
            let items = rows.map { row in
                "{\"plugin\":\"\(row.0)\",\"add_p50_ms\":\(row.1),\"add_p99_ms\":\(row.2),\"del_p50_ms\":\(row.3),"
                    + "\"all_at_once_ms\":\(row.4)}"
            }
            return "[" + items.joined(separator: ",") + "]"
        }
        let lines = rows.map { "| \($0.0) | \($0.1) | \($0.2) | \($0.3) | \($0.4) |" }
        return """
            | plugin | ADD p50 ms | ADD p99 ms | DEL p50 ms | all ADDs at once, ms |
            |---|---|---|---|---|
            \(lines.joined(separator: "\n"))
            """
    }
}

/// Durations in milliseconds.
struct Samples {
    var add: [Double] = []
    var delete: [Double] = []
    var together: [Double] = []
}

extension [Double] {
    /// To a hundredth.
    func quantile(_ part: Double) -> Double {
        guard !isEmpty else { return 0 }
        let sorted = sorted()
        let value = sorted[Swift.min(count - 1, Int(Double(count) * part))]
        return (value * 100).rounded() / 100
    }
}

/// A plugin as a runtime would call it.
struct Plugin: Sendable {
    var name: String
    var program: String
    var configuration: String
}

/// A node in a namespace of its own, with an underlay that leads nowhere.
final class Bench {
    private let node: NamespaceHandle
    private let directory: String
    private var pods: [NamespaceHandle] = []
    private var count = 0

    init() throws {
        node = try NamespaceHandle.create()
        directory = "/tmp/bench-cni-\(getpid())"
        try Files.makeDirectories(directory)
        let routes = try RouteConnection(namespace: node.descriptor)
        try routes.perform([
            .create(LinkSpec(name: "eth0", kind: .veth(peer: LinkSpec(name: "peer")), isUp: true)),
            .get(linkNamed: "eth0"),
        ])
        guard let device = try routes.link(named: "eth0")?.index, let address = CIDR("172.30.0.11/24") else { return }
        try routes.perform([.add(InterfaceAddress(device: device, address: address))])
    }

    func clear() { try? Files.removeTree(directory) }

    func startDaemon() async throws -> PodNetworkDaemon {
        guard let address = IPAddress("172.30.0.11"), let cluster = CIDR("10.244.0.0/16"),
            let own = CIDR("10.244.0.0/16")
        else { throw CancellationError() }
        let configuration = PodNetworkConfiguration(
            nodeName: "node", address: address, clusterPrefixes: [cluster], stateDirectory: directory + "/state",
            socket: directory + "/cni.sock", quarantine: 0)
        let daemon = try node.run { try PodNetworkDaemon(configuration) }
        try await daemon.start()
        try await daemon.update(nodes: [NodeNetwork(name: "node", podCIDRs: [own], address: address)])
        return daemon
    }

    private var weftProgram: String {
        guard let path = realpath("/proc/self/exe", nil) else { return "weft-cni" }
        defer { free(path) }
        return String(cString: path).split(separator: "/").dropLast().map { "/" + $0 }.joined() + "/weft-cni"
    }

    var weftWithDaemon: Plugin {
        Plugin(
            name: "weft-cni, daemon", program: weftProgram,
            configuration: #"{"cniVersion":"1.0.0","name":"weft","type":"weft-cni","socket":"\#(directory)/cni.sock"}"#)
    }

    var weftAlone: Plugin {
        Plugin(
            name: "weft-cni, alone", program: weftProgram,
            configuration:
                #"{"cniVersion":"1.0.0","name":"alone","type":"weft-cni","socket":"\#(directory)/none.sock","ipam":{"type":"host-local","subnet":"10.9.0.0/16","dataDir":"\#(directory)/alone"}}"#
        )
    }

    /// Debian's, as flannel and the CNI documentation configure it.
    var bridge: Plugin? {
        guard access("/usr/lib/cni/bridge", X_OK) == 0 else { return nil }
        return Plugin(
            name: "bridge + host-local (Debian)", program: "/usr/lib/cni/bridge",
            configuration:
                #"{"cniVersion":"1.0.0","name":"peer","type":"bridge","bridge":"cni0","isGateway":true,"hairpinMode":true,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.8.0.0/16"}]],"dataDir":"\#(directory)/peer","routes":[{"dst":"0.0.0.0/0"}]}}"#
        )
    }

    func measure(_ plugin: Plugin, pods number: Int, on loop: EventLoop, into samples: inout Samples) async throws {
        let pods = try (0..<number).map { _ in try NamespaceHandle.create() }
        let first = count
        count += number
        for (index, pod) in pods.enumerated() {
            samples.add.append(try await call("ADD", plugin, first + index, pod, on: loop))
        }
        for (index, pod) in pods.enumerated() {
            samples.delete.append(try await call("DEL", plugin, first + index, pod, on: loop))
        }
        let began = MonotonicTime.now()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, pod) in pods.enumerated() {
                group.addTask { _ = try await self.call("ADD", plugin, first + index, pod, on: loop) }
            }
            try await group.waitForAll()
        }
        samples.together.append(Self.milliseconds(since: began))
        for (index, pod) in pods.enumerated() { _ = try await call("DEL", plugin, first + index, pod, on: loop) }
    }

    /// Runs the plugin as a runtime does; how long it took, in milliseconds.
    private func call(_ verb: String, _ plugin: Plugin, _ number: Int, _ pod: NamespaceHandle, on loop: EventLoop)
        async throws -> Double
    {
        var child = ChildProcess.Configuration([plugin.program])
        child.environment = [
            "CNI_COMMAND=\(verb)", "CNI_CONTAINERID=bench-\(number)", "CNI_IFNAME=eth0", "CNI_PATH=/usr/lib/cni",
            "CNI_NETNS=/proc/\(getpid())/fd/\(pod.descriptor)", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        ]
        child.networkNamespace = node.descriptor
        let began = MonotonicTime.now()
        let output = try await ChildProcess.run(child, on: loop, input: Array(plugin.configuration.utf8))
        guard output.status.isSuccess else {
            throw Failure(text: "\(plugin.name) \(verb): \(output.text) \(output.errorText)")
        }
        return Self.milliseconds(since: began)
    }

    private static func milliseconds(since began: MonotonicTime) -> Double {
        let parts = MonotonicTime.now().duration(since: began).components
        return Double(parts.seconds) * 1000 + Double(parts.attoseconds) / 1e15
    }

    struct Failure: Error, CustomStringConvertible {
        var text: String
        var description: String { text }
    }
}

/// The loop is one, and what is shared between its tasks does not change while they run.
extension Bench: @unchecked Sendable {}
