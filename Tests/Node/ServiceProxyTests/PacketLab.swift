import Bytes
import Glibc
import Netlink
import TestSupport
import Testing

@testable import ServiceProxy

/// A node with two pods, a pod on another node, and a client outside: namespaces, veths, and servers that tell whom they
/// see. The proxy under test works in the node's namespace.
final class PacketLab: @unchecked Sendable {
    // Everything is made by init and stays; the proxy belongs to the one test that made the lab.

    enum Place: String, CaseIterable, Sendable { case podA, podB, remote, external, node }

    let bench: ProxyBench
    private var namespaces: [Place: NamespaceHandle] = [:]
    private var servers: [ChildCommand] = []

    /// Answers each connection and datagram with its own name and whom it sees.
    private static let server = """
        import socket, sys, threading
        name = sys.argv[1]
        def tcp(family, any):
            s = socket.socket(family, socket.SOCK_STREAM)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            s.bind((any, 8080)); s.listen(1024)
            while True:
                c, peer = s.accept()
                try: c.sendall(f"{name} {peer[0]}".encode())
                except OSError: pass
                c.close()
        def udp(family, any):
            s = socket.socket(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            s.bind((any, 8053))
            while True:
                # What is refused comes back here, too.
                try:
                    _, peer = s.recvfrom(64)
                    s.sendto(f"{name} {peer[0]}".encode(), peer)
                except OSError: pass
        for job in [tcp, udp]:
            for family, any in [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]:
                threading.Thread(target=job, args=(family, any), daemon=True).start()
        # Until the test is over, or dead.
        sys.stdin.read()
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

    /// How pods hang on their node.
    enum Wiring: Sendable {
        /// Each on a link of its own.
        case routed
        /// On a bridge, `cni0`.
        case bridged
    }

    init(_ configuration: ServiceProxyConfiguration = .testing, _ wiring: Wiring = .routed) throws {
        let node = try NamespaceHandle.create()
        namespaces[.node] = node
        for place in Place.allCases where place != .node { namespaces[place] = try NamespaceHandle.create() }
        try Self.wire(namespaces, wiring)
        bench = try ProxyBench(configuration, in: node)
        for place in [Place.podA, .podB, .remote] {
            servers.append(
                try ChildCommand([
                    "nsenter", "--net=\(Self.path(namespaces[place]))", "python3", "-c", Self.server, place.rawValue,
                ]))
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

    deinit { for server in servers { server.end() } }

    private static func path(_ namespace: NamespaceHandle?) -> String {
        "/proc/\(getpid())/fd/\(namespace?.descriptor ?? -1)"
    }

    private struct Link {
        var place: Place
        var gateway: String, address: String
        var gatewayV6: String, addressV6: String
        var isPod: Bool { place == .podA || place == .podB }
    }

    private static let links: [Link] = [
        Link(
            place: .podA, gateway: "10.244.1.1", address: "10.244.1.2", gatewayV6: "fd00:1::1", addressV6: "fd00:1::2"),
        Link(
            place: .podB, gateway: "10.244.1.1", address: "10.244.1.3", gatewayV6: "fd00:1::1", addressV6: "fd00:1::3"),
        Link(
            place: .remote, gateway: "192.0.2.1", address: "192.0.2.2", gatewayV6: "fd00:9::1", addressV6: "fd00:9::2"),
        Link(
            place: .external, gateway: "203.0.113.1", address: "203.0.113.2", gatewayV6: "fd00:8::1",
            addressV6: "fd00:8::2"),
    ]

    /// Of the node, in its namespace.
    static let nodeAddresses = Set(links.flatMap { [$0.gateway, $0.gatewayV6] }.map { ServiceProxyTests.address($0) })

    /// From which a place sends; the node's depends on where to.
    static func address(of place: Place, _ family: IPAddress.Family) -> IPAddress? {
        switch place {
        case .node: nil
        // A pod of another node: the link is only the way there.
        case .remote: ServiceProxyTests.address(family == .v4 ? "10.244.2.5" : "fd00:2::5")
        default:
            links.first { $0.place == place }.map {
                ServiceProxyTests.address(family == .v4 ? $0.address : $0.addressV6)
            }
        }
    }

    private static func wire(_ namespaces: [Place: NamespaceHandle], _ wiring: Wiring) throws {
        guard let node = namespaces[.node] else { return }
        // Refusals are limited to one a second for each peer, which asks hundreds of questions. Bridged pods would be
        // redirected past the node; and their ports must send back where a packet came from, as CNI's bridge plugin sets them.
        var inNode = """
            ip link set lo up; sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.icmp_ratelimit=0 \
            net.ipv6.icmp.ratelimit=0 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0;
            sysctl -qw net.ipv4.icmp_msgs_per_sec=100000 net.ipv4.icmp_msgs_burst=100000;
            ip link add cni0 type bridge; ip link set cni0 up;
            """
        for link in links {
            let place = link.place
            let isBridged = wiring == .bridged && link.isPod
            let device = isBridged ? "cni0" : "\(place)"
            inNode += """
                ip link add \(place) type veth peer name eth0 netns \(path(namespaces[place]));
                \(isBridged ? "ip link set \(place) master cni0; ip link set \(place) type bridge_slave hairpin on;" : "")
                ip link set \(place) up;
                ip addr replace \(link.gateway)/32 dev \(device);
                ip route add \(link.address)/32 dev \(device) src \(link.gateway);
                ip -6 addr replace \(link.gatewayV6)/128 dev \(device) nodad;
                ip -6 route add \(link.addressV6)/128 dev \(device);
                """
        }
        // A host without a route to the virtual addresses could not even begin to send to them.
        inNode += """
            ip route add 10.244.2.5 via 192.0.2.2 dev remote; ip -6 route add fd00:2::5 via fd00:9::2 dev remote;
            ip route add default via 203.0.113.2 dev external; ip -6 route add default via fd00:8::2 dev external; true
            """
        try ProxyBench.run(inNode, in: node)
        for link in links {
            guard let namespace = namespaces[link.place] else { continue }
            var inside = """
                ip link set lo up; ip link set eth0 up;
                sysctl -qw net.ipv6.conf.eth0.accept_redirects=0 net.ipv4.conf.all.accept_redirects=0;
                ip addr add \(link.address)/32 dev eth0; ip route add \(link.gateway) dev eth0;
                ip route add default via \(link.gateway); ip -6 addr add \(link.addressV6)/128 dev eth0 nodad;
                ip -6 route add \(link.gatewayV6) dev eth0; ip -6 route add default via \(link.gatewayV6) dev eth0;
                """
            if link.place == .remote {
                inside += """
                    ip addr add 10.244.2.5/32 dev lo; ip -6 addr add fd00:2::5/128 dev lo nodad;
                    ip route replace default via \(link.gateway) src 10.244.2.5;
                    ip route replace \(link.gateway) dev eth0 src 10.244.2.5;
                    ip -6 route replace default via \(link.gatewayV6) dev eth0 src fd00:2::5;
                    ip -6 route replace \(link.gatewayV6) dev eth0 src fd00:2::5;
                    """
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
        try run(Self.client, in: place, lines)
    }

    /// Runs a Python program in a place with lines on its input; its lines of output.
    func run(_ program: String, in place: Place, _ lines: [String]) throws -> [String] {
        guard let namespace = namespaces[place] else { return [] }
        let child = try ChildCommand(["nsenter", "--net=\(Self.path(namespace))", "python3", "-c", program])
        return child.finish(lines.joined(separator: "\n") + "\n").output.split(separator: "\n").map(String.init)
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
