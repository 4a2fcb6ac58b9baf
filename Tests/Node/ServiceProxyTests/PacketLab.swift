import Bytes
import Foundation
import Glibc
import Netlink
import Testing

@testable import ServiceProxy

/// A node with two pods, a pod on another node, and a client outside: namespaces, veths, and servers that tell whom they
/// see. The proxy under test works in the node's namespace.
final class PacketLab {
    enum Place: String, CaseIterable { case podA, podB, remote, external, node }

    let bench: ProxyBench
    private var namespaces: [Place: NamespaceHandle] = [:]
    private var servers: [Process] = []

    /// Answers each connection and datagram with its own name and whom it sees.
    private static let server = """
        import socket, sys, threading
        name = sys.argv[1]
        def tcp(family, any):
            s = socket.socket(family, socket.SOCK_STREAM)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            s.bind((any, 8080)); s.listen(64)
            while True:
                c, peer = s.accept()
                c.sendall(f"{name} {peer[0]}".encode()); c.close()
        def udp():
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind(("0.0.0.0", 8053))
            while True:
                _, peer = s.recvfrom(64)
                s.sendto(f"{name} {peer[0]}".encode(), peer)
        for job in [lambda: tcp(socket.AF_INET, "0.0.0.0"), lambda: tcp(socket.AF_INET6, "::"), udp]:
            threading.Thread(target=job).start()
        """

    /// Reads lines "tcp|udp address port [source port]", answers each with a line.
    private static let client = """
        import socket, sys
        for line in sys.stdin:
            proto, host, port, *source = line.split()
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            s = socket.socket(family, socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM)
            s.settimeout(0.7)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                if source: s.bind(("0.0.0.0", int(source[0])))
                s.connect((host, int(port)))
                if proto == "udp": s.send(b"x")
                print(s.recv(200).decode() or "empty")
            except ConnectionRefusedError: print("refused")
            except socket.timeout: print("timeout")
            except OSError as e: print("error", e)
            s.close()
        """

    init(_ configuration: ServiceProxyConfiguration = .testing) throws {
        let node = try NamespaceHandle.create()
        namespaces[.node] = node
        for place in Place.allCases where place != .node { namespaces[place] = try NamespaceHandle.create() }
        try Self.wire(namespaces)
        bench = try ProxyBench(configuration, in: node)
        for place in [Place.podA, .podB, .remote] {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/nsenter")
            process.arguments = [
                "--net=\(Self.path(namespaces[place]))", "python3", "-c", Self.server, place.rawValue,
            ]
            process.standardInput = FileHandle.nullDevice
            try process.run()
            servers.append(process)
        }
        let deadline = ContinuousClock.now + .seconds(60)
        for (place, address) in [(Place.podA, "10.244.1.2"), (.podB, "10.244.1.3"), (.remote, "10.244.2.5")] {
            while try !ask(.node, "tcp \(address) 8080").starts(with: "\(place)") {
                guard ContinuousClock.now < deadline else {
                    throw ProxyBench.Failure(description: "\(place) is silent")
                }
            }
        }
    }

    deinit {
        for server in servers {
            kill(server.processIdentifier, SIGKILL)
            server.waitUntilExit()
        }
    }

    private static func path(_ namespace: NamespaceHandle?) -> String {
        "/proc/\(getpid())/fd/\(namespace?.descriptor ?? -1)"
    }

    private static func wire(_ namespaces: [Place: NamespaceHandle]) throws {
        guard let node = namespaces[.node] else { return }
        var inNode = "ip link set lo up; sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; "
        let links: [(Place, String, String, String, String)] = [
            (.podA, "10.244.1.1", "10.244.1.2/32", "fd00:1::1", "fd00:1::2/128"),
            (.podB, "10.244.1.1", "10.244.1.3/32", "fd00:1::1", "fd00:1::3/128"),
            (.remote, "192.0.2.1", "192.0.2.2/32", "fd00:9::1", "fd00:9::2/128"),
            (.external, "203.0.113.1", "203.0.113.2/32", "fd00:8::1", "fd00:8::2/128"),
        ]
        for (place, gateway, address, gateway6, address6) in links {
            let host = address.split(separator: "/")[0], host6 = address6.split(separator: "/")[0]
            inNode += """
                ip link add \(place) type veth peer name eth0 netns \(path(namespaces[place])); ip link set \(place) up;
                ip addr add \(gateway)/32 dev \(place); ip route add \(host)/32 dev \(place) src \(gateway);
                ip -6 addr add \(gateway6)/128 dev \(place) nodad; ip -6 route add \(host6)/128 dev \(place);
                """
        }
        // A host without a route to the virtual addresses could not even begin to send to them.
        inNode += """
            ip route add 10.244.2.5 via 192.0.2.2 dev remote; ip route add default via 203.0.113.2 dev external;
            ip -6 route add default via fd00:8::2 dev external; true
            """
        try ProxyBench.run(inNode, in: node)
        for (place, gateway, address, gateway6, address6) in links {
            guard let namespace = namespaces[place] else { continue }
            var inside = """
                ip link set lo up; ip link set eth0 up; ip addr add \(address) dev eth0; ip route add \(gateway) dev eth0;
                ip route add default via \(gateway); ip -6 addr add \(address6) dev eth0 nodad;
                ip -6 route add \(gateway6) dev eth0; ip -6 route add default via \(gateway6) dev eth0;
                """
            if place == .remote {
                inside += "ip addr add 10.244.2.5/32 dev lo; ip route replace default via \(gateway) src 10.244.2.5; "
                inside += "ip route replace \(gateway) dev eth0 src 10.244.2.5; "
            }
            try ProxyBench.run(inside + "true", in: namespace)
        }
    }

    /// Runs a command in a place.
    @discardableResult
    func run(_ place: Place, _ command: String) throws -> String {
        guard let namespace = namespaces[place] else { return "" }
        return try ProxyBench.run(command, in: namespace)
    }

    /// Sends from a place; each line is "tcp|udp address port [source port]". One answer a line: "endpoint source",
    /// "refused" or "timeout".
    func ask(_ place: Place, _ lines: [String]) throws -> [String] {
        guard let namespace = namespaces[place] else { return [] }
        // The program by its descriptor's text: the shell's quoting stays out of it.
        let script = "cat > /dev/null <<'EOF'\nEOF\nexec python3 -c \"$CLIENT\""
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/nsenter")
        process.arguments = ["--net=\(Self.path(namespace))", "sh", "-c", script]
        process.environment = ProcessInfo.processInfo.environment.merging(["CLIENT": Self.client]) { $1 }
        let (stdin, stdout) = (Pipe(), Pipe())
        process.standardInput = stdin
        process.standardOutput = stdout
        try process.run()
        stdin.fileHandleForWriting.write(Data((lines.joined(separator: "\n") + "\n").utf8))
        try stdin.fileHandleForWriting.close()
        let output = String(decoding: stdout.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return output.split(separator: "\n").map(String.init)
    }

    func ask(_ place: Place, _ line: String) throws -> String { try ask(place, [line]).first ?? "nothing" }

    /// What becomes of new connections: which endpoints answer over several of them, and whom they see.
    func outcome(_ place: Place, _ target: String, tries: Int = 10) throws -> Outcome {
        let first = try ask(place, target)
        guard !["refused", "timeout"].contains(first) else { return Outcome(endpoints: [first], source: nil) }
        var outcome = Outcome(endpoints: [], source: nil)
        for answer in [first] + (try ask(place, Array(repeating: target, count: tries))) {
            let words = answer.split(separator: " ").map(String.init)
            outcome.endpoints.insert(words.first ?? "")
            let seen = words.last ?? ""
            let source: Source? =
                switch seen {
                case "10.244.1.2", "10.244.1.3", "203.0.113.2", "fd00:1::3", "fd00:8::2": .client
                case "10.244.1.1", "192.0.2.1", "203.0.113.1", "fd00:1::1", "fd00:8::1", "fd00:9::1": .node
                default: nil
                }
            outcome.source = outcome.source == nil || outcome.source == source ? source : .mixed
        }
        return outcome
    }

    enum Source: String { case client, node, mixed }

    struct Outcome: Equatable, CustomStringConvertible {
        var endpoints: Set<String>
        var source: Source?

        init(endpoints: Set<String>, source: Source?) { (self.endpoints, self.source) = (endpoints, source) }

        /// `podA+remote as client`, `timeout`, `refused`.
        init(_ text: String) {
            let parts = text.split(separator: " ").map(String.init)
            endpoints = Set(parts[0].split(separator: "+").map(String.init))
            source = parts.count == 3 ? Source(rawValue: parts[2]) : nil
        }

        var description: String {
            endpoints.sorted().joined(separator: "+") + (source.map { " as \($0)" } ?? "")
        }
    }
}
