import Bytes
import ClusterAPI
import Glibc
import JSON
import Netlink
import TestSupport
import Testing

@testable import Policy

/// A node with pods on it, pods of another node, and the world: a namespace for each place, all routed through the node's, where
/// the policies under test work.
final class PolicyLab: @unchecked Sendable {
    // Everything is made by init and stays; the policies belong to the one test that made the lab.

    /// A pod's place, or the world's.
    struct Place: Hashable {
        var name: String
        var v4: String
        var v6: String
        /// Whether it is a pod, and one of this node.
        var isPod = true
        var isLocal = true
    }

    /// Of the node under test.
    static let node = "node-1"

    /// Namespaces x and y, three pods each; c is on another node.
    static let places: [Place] =
        ["x", "y"].enumerated().flatMap { index, namespace in
            ["a", "b", "c"].enumerated().map { number, pod in
                let host = index * 10 + number + 2
                let isLocal = pod != "c"
                return Place(
                    name: "\(namespace)/\(pod)", v4: "10.244.\(isLocal ? 1 : 2).\(host)",
                    v6: "fd00:\(isLocal ? 1 : 2)::\(host)", isLocal: isLocal)
            }
        } + [Place(name: "world", v4: "203.0.113.9", v6: "fd00:9::9", isPod: false)]

    let node: NamespaceHandle
    private let namespaces: [String: NamespaceHandle]
    private(set) var policy: NodePolicy
    private var servers: [ChildCommand] = []
    private let rejects: Bool

    /// Ports on which every place answers, over TCP and UDP.
    static let ports: [UInt16] = [80, 81, 8080]

    /// Answers each connection and datagram with the word "yes".
    private static let server = """
        import selectors, socket, sys
        chosen = selectors.DefaultSelector()
        for family, any in [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]:
            for kind in [socket.SOCK_STREAM, socket.SOCK_DGRAM]:
                for port in map(int, sys.argv[1:]):
                    s = socket.socket(family, kind)
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    s.bind((any, port))
                    if kind == socket.SOCK_STREAM: s.listen(256)
                    chosen.register(s, selectors.EVENT_READ, kind)
        chosen.register(sys.stdin, selectors.EVENT_READ, None)
        print("ready", flush=True)
        streams = {}
        while True:
            for key, _ in chosen.select():
                if key.data is None and key.fileobj is sys.stdin: sys.exit()
                try:
                    if key.data == socket.SOCK_DGRAM:
                        _, peer = key.fileobj.recvfrom(64)
                        key.fileobj.sendto(b"yes", peer)
                    elif key.data == "open":
                        # Each line is answered, as long as the client likes.
                        if key.fileobj.recv(64): key.fileobj.sendall(b"yes")
                        else: chosen.unregister(key.fileobj); key.fileobj.close()
                    else:
                        c, _ = key.fileobj.accept()
                        chosen.register(c, selectors.EVENT_READ, "open")
                except OSError: pass
        """

    /// Reads lines "tcp|udp|ping address port", asks them all at once, and answers with one line each, in their order.
    private static let client = """
        import os, select, socket, struct, sys, time
        asked = []
        for line in sys.stdin:
            proto, host, port = line.split()
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            if proto == "ping":
                s = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6)
                s.setblocking(False)
                head = struct.pack("!BBHHH", 8 if family == socket.AF_INET else 128, 0, 0, len(asked) + 1, 1)
                if family == socket.AF_INET:
                    total = sum(struct.unpack("!4H", head)); total = (total >> 16) + (total & 0xffff)
                    head = head[:2] + struct.pack("!H", ~total & 0xffff) + head[4:]
                s.connect((host, 0))
                s.send(head)
            else:
                s = socket.socket(family, socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM)
                s.setblocking(False)
                try: s.connect((host, int(port)))
                except BlockingIOError: pass
                if proto == "udp": s.send(b"x")
            asked.append([proto, s, None, False])
        patience = float(sys.argv[1])
        end = time.monotonic() + patience
        while time.monotonic() < end:
            open = [a for a in asked if a[2] is None]
            if not open: break
            waiting = {a[1].fileno(): a for a in open}
            poll = select.poll()
            for fd, a in waiting.items(): poll.register(fd, select.POLLIN | (select.POLLOUT if a[0] == "tcp" and not a[3] else 0))
            for fd, events in poll.poll(50):
                a = waiting[fd]
                try:
                    if events & select.POLLOUT and not a[3]:
                        a[1].send(b"x"); a[3] = True
                    if events & (select.POLLIN | select.POLLERR | select.POLLHUP):
                        data = a[1].recv(200)
                        # Raw sockets see all echoes; those of others are not ours.
                        if a[0] == "ping":
                            if a[1].family == socket.AF_INET: data = data[20:]
                            if data[0] not in (0, 129): continue
                        a[2] = "yes" if data else "closed"
                except OSError as e: a[2] = "refused"
        for a in asked: print(a[2] or "no")
        """

    init(rejects: Bool = false) throws {
        self.rejects = rejects
        node = try NamespaceHandle.create()
        var made: [String: NamespaceHandle] = [:]
        for place in Self.places { made[place.name] = try NamespaceHandle.create() }
        namespaces = made
        policy = try NodePolicy(node: Self.node, rejects: rejects, namespace: node.descriptor)
        try wire()
        for place in Self.places {
            servers.append(
                try ChildCommand(inside(place.name) + ["python3", "-c", Self.server] + Self.ports.map(String.init)))
        }
        let deadline = ContinuousClock.now + .seconds(60)
        for place in Self.places {
            while try ask("node", ["tcp \(place.v4) 80", "tcp \(place.v6) 80"], patience: 2) != ["yes", "yes"] {
                guard ContinuousClock.now < deadline else { throw Failure(description: "\(place.name) is silent") }
            }
        }
    }

    deinit { for server in servers { server.end() } }

    struct Failure: Error, CustomStringConvertible { var description: String }

    private func handle(_ place: String) -> NamespaceHandle { namespaces[place] ?? node }
    private func path(_ place: String) -> String { "/proc/\(getpid())/fd/\(handle(place).descriptor)" }
    private func inside(_ place: String) -> [String] { ["nsenter", "--net=\(path(place))"] }

    /// Runs a shell command in a place, "node" being the node's.
    @discardableResult
    func run(_ place: String, _ command: String) throws -> String {
        let (output, status) = try ChildCommand(inside(place) + ["sh", "-c", command]).finish()
        guard status == 0 else { throw Failure(description: "\(command): \(output)") }
        return output
    }

    private func wire() throws {
        var inNode = """
            ip link set lo up; sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.icmp_ratelimit=0 \
            net.ipv6.icmp.ratelimit=0 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0;
            """
        for (index, place) in Self.places.enumerated() {
            inNode += """
                ip link add v\(index) type veth peer name eth0 netns \(path(place.name)); ip link set v\(index) up;
                ip addr add 10.244.1.1/32 dev v\(index); ip route add \(place.v4)/32 dev v\(index) src 10.244.1.1;
                ip -6 addr add fd00:1::1/128 dev v\(index) nodad; ip -6 route add \(place.v6)/128 dev v\(index);

                """
        }
        try run("node", inNode)
        for place in Self.places {
            try run(
                place.name,
                """
                ip link set lo up; ip link set eth0 up; ip addr add \(place.v4)/32 dev eth0;
                ip route add 10.244.1.1 dev eth0; ip route add default via 10.244.1.1;
                ip -6 addr add \(place.v6)/128 dev eth0 nodad; ip -6 route add fd00:1::1 dev eth0;
                ip -6 route add default via fd00:1::1 dev eth0
                """)
        }
    }

    // MARK: Asking

    /// Asks from a place, all questions at once; "yes", "no" or "refused" each. What should come needs no patience, so that only
    /// what is dropped takes the time.
    func ask(_ place: String, _ lines: [String], patience: Double = 0.6) throws -> [String] {
        let child = try ChildCommand(inside(place) + ["python3", "-c", Self.client, "\(patience)"])
        return child.finish(lines.joined(separator: "\n") + "\n").output.split(separator: "\n").map(String.init)
    }

    /// A program in a place that answers each line with a line.
    final class Talk {
        private let child: ChildCommand
        init(_ child: ChildCommand) { self.child = child }
        deinit { child.end() }

        func answer() throws -> String { try child.ask("go") }

        /// Asks until it answers so, for half a minute.
        func eventually(_ wanted: String) throws -> Bool {
            for _ in 0..<40 where try answer() == wanted { return true }
            return false
        }
    }

    func talk(_ place: String, _ program: String, _ arguments: String...) throws -> Talk {
        Talk(try ChildCommand(inside(place) + ["python3", "-c", program] + arguments))
    }

    /// "tcp 80" of another place, over both families: whether both say yes. Throws when they differ.
    func passes(_ from: String, _ to: String, _ what: String = "tcp 80") throws -> Bool {
        let words = what.split(separator: " ").map(String.init)
        let (proto, port) = (words[0], words.count > 1 ? words[1] : "0")
        let target = try Self.place(to)
        let answers = try ask(from, ["\(proto) \(target.v4) \(port)", "\(proto) \(target.v6) \(port)"])
        guard answers.count == 2, (answers[0] == "yes") == (answers[1] == "yes") else {
            throw Failure(description: "\(from) to \(to) \(what): \(answers)")
        }
        return answers[0] == "yes"
    }

    static func place(_ name: String) throws -> Place {
        guard let place = places.first(where: { $0.name == name }) else {
            throw Failure(description: "there is no \(name)")
        }
        return place
    }

    // MARK: The cluster

    /// Namespaces with a label `ns`, pods with a label `pod` and ports named `web` (80) and, on `b`, another number for it.
    func populate() {
        for namespace in ["x", "y"] {
            policy.setNamespace(
                namespace, labels: ["ns": namespace, "kubernetes.io/metadata.name": namespace])
        }
        for place in Self.places where place.isPod { policy.set(Self.pod(place)) }
    }

    static func pod(_ place: Place, labels: [String: String] = [:]) -> PolicyPod {
        let parts = place.name.split(separator: "/").map(String.init)
        let key = ObjectKey(namespace: parts[0], name: parts[1])
        return PolicyPod(
            key, labels: ["pod": key.name].merging(labels) { $1 },
            ports: [.init("web", .tcp, key.name == "b" ? 81 : 80), .init("dns", .udp, 80)],
            node: place.isLocal ? node : "node-2", addresses: [address(place.v4), address(place.v6)])
    }

    /// A policy as YAML would say it, in JSON.
    func apply(_ namespace: String, _ name: String, _ spec: JSONValue) throws {
        policy.set(Self.spec(namespace, name, spec))
        try policy.sync()
    }

    static func spec(_ namespace: String, _ name: String, _ spec: JSONValue) -> NetworkPolicySpec {
        var object = KubeObject(
            apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", namespace: namespace, name: name)
        object.spec = spec
        return NetworkPolicySpec(object)
    }

    /// Without telling the kernel yet.
    func forget(_ namespace: String, _ name: String) {
        policy.removePolicy(ObjectKey(namespace: namespace, name: name))
    }

    func remove(_ namespace: String, _ name: String) throws {
        forget(namespace, name)
        try policy.sync()
    }

    /// As a daemon that was killed and started again: nothing of it remains but the kernel's table.
    func restart() throws {
        policy = try NodePolicy(node: "", tableName: "weft-policy-none", owning: false, namespace: node.descriptor)
        policy = try NodePolicy(node: Self.node, rejects: rejects, namespace: node.descriptor)
    }
}

func address(_ text: String) -> IPAddress {
    guard let address = IPAddress(text) else { preconditionFailure("\(text) is no address") }
    return address
}
