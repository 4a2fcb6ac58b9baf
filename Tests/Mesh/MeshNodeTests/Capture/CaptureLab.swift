import Glibc
import MeshAPI
import MeshNode
import Netlink
import TestSupport

/// A node with two pods and the world around it, each in a namespace of its own; the first pod's connections are captured. Every server
/// answers with where a connection ended, where it was meant to go, and who came: `PORT ORIGINAL CLIENT`.
final class CaptureLab: @unchecked Sendable {
    // Proof for `@unchecked`: one suite uses it, whose tests run one after the other.

    struct Failure: Error, CustomStringConvertible { var description: String }

    enum Family: String, CaseIterable, Sendable { case v4, v6 }

    enum Place: String, CaseIterable {
        case node, pod, neighbour, world

        func address(_ family: Family) -> String {
            switch (self, family) {
            case (.node, .v4): "10.244.1.1"
            case (.node, .v6): "fd00:1::1"
            case (.pod, .v4): "10.244.1.5"
            case (.pod, .v6): "fd00:1::5"
            case (.neighbour, .v4): "10.244.1.6"
            case (.neighbour, .v6): "fd00:1::6"
            case (.world, .v4): "203.0.113.9"
            case (.world, .v6): "fd00:9::9"
            }
        }
    }

    /// A Service's address that the node translates to the pod's port 8080.
    static func service(_ family: Family) -> String { family == .v4 ? "10.96.0.10" : "fd00:96::10" }
    static func loopback(_ family: Family) -> String { family == .v4 ? "127.0.0.1" : "::1" }
    static func own(_ family: Family) -> String { family == .v4 ? "127.0.0.6" : "::6" }
    static func probe(_ family: Family) -> String { family == .v4 ? ProbeSource.v4 : ProbeSource.v6 }

    private let namespaces: [Place: NamespaceHandle]
    private var servers: [ChildCommand] = []

    /// User and ports of what runs in the pod beside the sidecar, and elsewhere.
    private static let ports = ["53", "80", "443", "8080", "9000", "15021", "15090"]
    static let appUser: UInt32 = 1000

    private static let server = """
        import os, selectors, socket, struct, sys
        chosen = selectors.DefaultSelector()
        for family, any in [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]:
            for port in map(int, sys.argv[2:]):
                for kind in [socket.SOCK_STREAM, socket.SOCK_DGRAM]:
                    s = socket.socket(family, kind)
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    s.bind((any, port))
                    if kind == socket.SOCK_STREAM: s.listen(64)
                    chosen.register(s, selectors.EVENT_READ, kind)
        chosen.register(sys.stdin, selectors.EVENT_READ, None)
        user = int(sys.argv[1])
        os.setgroups([]); os.setgid(user); os.setuid(user)
        print("ready", flush=True)
        def original(c):
            try:
                if c.family == socket.AF_INET:
                    port, host = struct.unpack("!2xH4s8x", c.getsockopt(socket.SOL_IP, 80, 16))
                else:
                    port, host = struct.unpack("!2xH4x16s4x", c.getsockopt(41, 80, 28))
                return socket.inet_ntop(c.family, host) + "," + str(port)
            except OSError: return "-"
        while True:
            for key, _ in chosen.select():
                if key.data is None:
                    if not os.read(0, 64): sys.exit()
                    continue
                try:
                    if key.data == socket.SOCK_DGRAM:
                        _, peer = key.fileobj.recvfrom(64)
                        key.fileobj.sendto(f"{key.fileobj.getsockname()[1]} udp {peer[0]}".encode(), peer)
                    elif key.data == "open":
                        # Each word is answered for as long as the client likes.
                        if key.fileobj.recv(64): key.fileobj.sendall(f"{key.fileobj.getsockname()[1]} {original(key.fileobj)} {key.fileobj.getpeername()[0]}".encode())
                        else: chosen.unregister(key.fileobj); key.fileobj.close()
                    else:
                        c, _ = key.fileobj.accept()
                        chosen.register(c, selectors.EVENT_READ, "open")
                except OSError: pass
        """

    /// `USER tcp|udp ADDRESS PORT PATIENCE [SOURCE]`: asks once, or, with a line of input each, again over the same connection.
    private static let client = """
        import os, socket, sys
        user, kind, host, port, patience = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])
        # A socket is of the user who makes it.
        os.setgroups([]); os.setgid(user); os.setuid(user)
        s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        s.settimeout(patience)
        if len(sys.argv) > 6: s.bind((sys.argv[6], 0))
        try:
            s.connect((host, port))
            for line in sys.stdin:
                s.send(b"x")
                print(s.recv(200).decode() or "closed", flush=True)
        except (TimeoutError, socket.timeout): print("no", flush=True)
        except OSError as e: print("refused", flush=True)
        """

    init() throws {
        var made: [Place: NamespaceHandle] = [:]
        for place in Place.allCases { made[place] = try NamespaceHandle.create() }
        namespaces = made
        try wire()
        try ProbeOrigin.establish(namespace: made[.node]?.descriptor)
        try serve(.pod, user: MeshName.user, [String(MeshPort.outbound), String(MeshPort.inbound)])
        try serve(.pod, user: Self.appUser, Self.ports)
        for place in [Place.neighbour, .world] { try serve(place, user: Self.appUser, Self.ports) }
        try waitForPaths()
    }

    /// IPv6 takes a moment from an address to packets.
    private func waitForPaths() throws {
        let deadline = ContinuousClock.now + .seconds(60)
        let ways: [(Place, Place)] = [
            (.pod, .world), (.world, .pod), (.pod, .neighbour), (.neighbour, .pod), (.node, .pod),
        ]
        for (from, to) in ways {
            for family in Family.allCases {
                while case let answer = try ask(from, to.address(family), 80, patience: 1), !answer.hasPrefix("80 ") {
                    guard ContinuousClock.now < deadline else {
                        throw Failure(description: "\(from) to \(to) over \(family): \(answer)")
                    }
                }
            }
        }
    }

    deinit { for server in servers { server.end() } }

    func path(_ place: Place) -> String { "/proc/\(getpid())/fd/\(namespaces[place]?.descriptor ?? -1)" }
    private func inside(_ place: Place) -> [String] { ["nsenter", "--net=\(path(place))"] }

    private func serve(_ place: Place, user: UInt32, _ ports: [String]) throws {
        let child = try ChildCommand(inside(place) + ["python3", "-c", Self.server, String(user)] + ports)
        servers.append(child)
        let word = try child.ask("")
        guard word == "ready" else { throw Failure(description: "\(place): \(word)") }
    }

    func capture(_ plan: CapturePlan) throws {
        try PodCapture.install(plan, namespace: path(.pod), hasIPv6: true)
    }

    /// Runs a shell command in a place.
    @discardableResult
    func run(_ place: Place, _ command: String) throws -> String {
        let (output, status) = try ChildCommand(inside(place) + ["sh", "-c", command]).finish()
        guard status == 0 else { throw Failure(description: "\(command): \(output)") }
        return output
    }

    private func wire() throws {
        var commands = "ip link set lo up; sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1;"
        for (index, place) in [Place.pod, .neighbour, .world].enumerated() {
            commands += """
                ip link add v\(index) type veth peer name eth0 netns \(path(place)); ip link set v\(index) up;
                sysctl -qw net.ipv4.conf.v\(index).rp_filter=1;
                ip addr add 10.244.1.1/32 dev v\(index); ip route add \(place.address(.v4))/32 dev v\(index) src 10.244.1.1;
                ip -6 addr add fd00:1::1/128 dev v\(index) nodad; ip -6 route add \(place.address(.v6))/128 dev v\(index);

                """
        }
        commands += """
            nft add table inet services; nft 'add chain inet services p { type nat hook prerouting priority -100; }';
            nft add rule inet services p ip daddr \(Self.service(.v4)) tcp dport 80 dnat ip to \(Place.pod.address(.v4)):8080;
            nft add rule inet services p ip6 daddr \(Self.service(.v6)) tcp dport 80 dnat ip6 to [\(Place.pod.address(.v6))]:8080
            """
        try run(.node, commands)
        for place in [Place.pod, .neighbour, .world] {
            try run(
                place,
                """
                ip link set lo up; ip link set eth0 up; ip addr add \(place.address(.v4))/32 dev eth0;
                ip route add 10.244.1.1 dev eth0; ip route add default via 10.244.1.1;
                ip -6 addr add \(place.address(.v6))/128 dev eth0 nodad; ip -6 route add fd00:1::1 dev eth0;
                ip -6 route add default via fd00:1::1 dev eth0
                """)
        }
    }

    // MARK: Asking

    /// What the server at the end says; "no" for silence, "refused" for a refusal.
    func ask(
        _ place: Place, as user: UInt32 = CaptureLab.appUser, over kind: String = "tcp", _ address: String,
        _ port: UInt16,
        from source: String? = nil, patience: Double = 30
    ) throws -> String {
        let child = try talk(place, as: user, over: kind, address, port, from: source, patience: patience)
        return child.finish("go\n").output.split(separator: "\n").first.map(String.init) ?? "nothing"
    }

    /// A connection that stays open: each line that it is given is asked again.
    func talk(
        _ place: Place, as user: UInt32 = CaptureLab.appUser, over kind: String = "tcp", _ address: String,
        _ port: UInt16,
        from source: String? = nil, patience: Double = 30
    ) throws -> ChildCommand {
        try ChildCommand(
            inside(place)
                + ["python3", "-c", Self.client, String(user), kind, address, String(port), String(patience)]
                + (source.map { [$0] } ?? []))
    }
}
