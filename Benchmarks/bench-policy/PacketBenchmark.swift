import Bytes
import ClusterAPI
import Glibc
import JSON
import Netlink
import Policy
import Reactor
import Synchronization

/// What policies cost packets: TCP through a node between two pods of it, with and without a cluster's policies, in turn.
struct PacketBenchmark {
    var rounds: Int
    var seconds: Double

    private static let client = "10.244.1.2", server = "10.244.1.3"
    private static let port: UInt16 = 8080

    enum Table: String, CaseIterable {
        case without = "no table"
        case bystander = "policies, neither pod isolated"
        case ports = "both isolated, allowed by pod and port"
        case block = "both isolated, allowed by prefix and port range"
    }

    /// A node with its pods, and what its table is.
    private struct Lab {
        /// Of the node and of both pods: a namespace lives as long as somebody holds it.
        var namespaces: [NamespaceHandle]
        var client: NamespaceHandle
        var listener: Listener
        var policy: NodePolicy?
        var connections: [Double] = []
        var bytes: [Double] = []
    }

    func run() throws {
        let load = PolicyLoad(pods: 5000, policies: 1000, local: 110)
        var labs: [Table: Lab] = [:]
        for table in Table.allCases {
            let (node, a, b) = (
                try NamespaceHandle.create(), try NamespaceHandle.create(), try NamespaceHandle.create()
            )
            try Self.wire(node, a, b)
            labs[table] = Lab(
                namespaces: [node, a, b], client: a, listener: try Listener(in: b, port: Self.port),
                policy: try Self.set(table, load, in: node))
        }
        defer { for lab in labs.values { lab.listener.close() } }
        for round in 0..<rounds {
            // Short turns in another order each time, so that what goes on beside meets all alike.
            for offset in Table.allCases.indices {
                let table = Table.allCases[(offset + round) % Table.allCases.count]
                guard let client = labs[table]?.client else { continue }
                labs[table]?.connections.append(try client.run { try Self.connect(for: seconds) })
                labs[table]?.bytes.append(try client.run { try Self.stream(for: seconds) })
            }
        }
        print(
            "TCP between two pods of a node, \(rounds) turns of \(seconds) s each, best tenth (5000 pods, 1000 policies)"
        )
        let base = labs[.without].map { (Self.best($0.connections), Self.best($0.bytes)) } ?? (1, 1)
        for table in Table.allCases {
            guard let lab = labs[table] else { continue }
            let (connections, bytes) = (Self.best(lab.connections), Self.best(lab.bytes))
            let name = table.rawValue + String(repeating: " ", count: 50 - table.rawValue.count)
            print(
                "  \(name) \(Int(connections)) connections/s (\(Self.percent(connections / base.0))), \(Int(bytes / 1e6 * 8)) Mbit/s (\(Self.percent(bytes / base.1)))"
            )
        }
    }

    private static func percent(_ ratio: Double) -> String {
        let tenths = Int(((ratio - 1) * 1000).rounded())
        return "\(tenths < 0 ? "-" : "+")\(abs(tenths) / 10).\(abs(tenths) % 10) %"
    }

    /// The mean of the best tenth: what others on the machine do only ever makes a turn worse.
    private static func best(_ values: [Double]) -> Double {
        let best = values.sorted().suffix(max(1, values.count / 10))
        return best.reduce(0, +) / Double(best.count)
    }

    private static func set(_ table: Table, _ load: PolicyLoad, in node: NamespaceHandle) throws -> NodePolicy? {
        guard table != .without else { return nil }
        let policy = try NodePolicy(node: PolicyLoad.node, namespace: node.descriptor)
        for object in load.namespaces { policy.setNamespace(object.name, labels: object.labels) }
        for object in load.policies { policy.set(NetworkPolicySpec(object)) }
        for object in load.pods { if let pod = PolicyPod(object) { policy.set(pod) } }
        for (name, text) in [("client", client), ("server", server)] {
            let address = IPAddress(text).map { [$0] } ?? []
            policy.set(
                PolicyPod(
                    ObjectKey(namespace: "bench", name: name), labels: ["app": name], node: PolicyLoad.node,
                    addresses: address))
        }
        let everything: JSONValue =
            switch table {
            case .ports: ["podSelector": [:]]
            default: ["ipBlock": ["cidr": "10.244.0.0/16"]]
            }
        let ports: JSONValue = table == .ports ? [["port": 8080]] : [["port": 8000, "endPort": 9000]]
        if table != .bystander {
            var object = KubeObject(
                apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", namespace: "bench", name: "both")
            object.spec = [
                "podSelector": [:], "policyTypes": ["Ingress", "Egress"],
                "ingress": [["from": [everything], "ports": ports]], "egress": [["to": [everything], "ports": ports]],
            ]
            policy.set(NetworkPolicySpec(object))
        }
        try policy.sync()
        try policy.markJudged()
        return policy
    }

    // MARK: The network

    private static func wire(_ node: NamespaceHandle, _ a: NamespaceHandle, _ b: NamespaceHandle) throws {
        func path(_ handle: NamespaceHandle) -> String { "/proc/\(getpid())/fd/\(handle.descriptor)" }
        var script = "nsenter --net=\(path(node)) sh -ec 'ip link set lo up; sysctl -qw net.ipv4.ip_forward=1;"
        for (index, (pod, address)) in [(a, client), (b, server)].enumerated() {
            script += """
                ip link add v\(index) type veth peer name eth0 netns \(path(pod)); ip link set v\(index) up;
                ip addr add 10.244.1.1/32 dev v\(index); ip route add \(address)/32 dev v\(index);
                """
        }
        // Conntrack as every node has it, with the table or without.
        script +=
            "nft add table ip track; nft add chain ip track f \"{ type filter hook forward priority 0; }\"; nft add rule ip track f ct state invalid counter';"
        for (pod, address) in [(a, client), (b, server)] {
            script += """
                nsenter --net=\(path(pod)) sh -ec 'ip link set lo up; ip link set eth0 up; ip addr add \(address)/32 dev eth0;
                sysctl -qw net.ipv4.ip_local_port_range="1024 65535" net.ipv4.tcp_tw_reuse=1;
                ip route add 10.244.1.1 dev eth0; ip route add default via 10.244.1.1';
                """
        }
        guard system(script) == 0 else { throw Failure(description: "no network: \(script)") }
    }

    struct Failure: Error, CustomStringConvertible { var description: String }

    private static func address(_ text: String, _ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr(text)
        return address
    }

    private static func open() throws -> CInt {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        guard descriptor >= 0 else { throw Failure(description: "socket: \(errno)") }
        var target = address(server, port)
        let status = withUnsafePointer(to: &target) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else { throw Failure(description: "connect: \(errno)") }
        return descriptor
    }

    /// Connections one after the other, each with a byte there and one back; how many a second.
    private static func connect(for seconds: Double) throws -> Double {
        let start = MonotonicTime.now()
        var count = 0
        var byte: UInt8 = 1
        // Nobody waits for the other's farewell.
        var linger = Glibc.linger(l_onoff: 1, l_linger: 0)
        while true {
            for _ in 0..<20 {
                let descriptor = try open()
                guard send(descriptor, &byte, 1, 0) == 1, recv(descriptor, &byte, 1, 0) == 1 else {
                    throw Failure(description: "no answer: \(errno)")
                }
                byte = 1
                setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
                close(descriptor)
                count += 1
            }
            let took = MonotonicTime.now().duration(since: start)
            if took > .milliseconds(Int(seconds * 1000)) { return Double(count) / (took / .seconds(1)) }
        }
    }

    /// One connection, as much as it takes; bytes a second.
    private static func stream(for seconds: Double) throws -> Double {
        let descriptor = try open()
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 2, count: 128 << 10)
        let start = MonotonicTime.now()
        var count = 0
        while true {
            let sent = send(descriptor, &buffer, buffer.count, 0)
            guard sent > 0 else { throw Failure(description: "send: \(errno)") }
            count += sent
            let took = MonotonicTime.now().duration(since: start)
            if took > .milliseconds(Int(seconds * 1000)) { return Double(count) / (took / .seconds(1)) }
        }
    }

    /// Answers a 1 with a byte, and swallows everything that begins with a 2.
    private final class Listener: Sendable {
        private let descriptor: CInt

        init(in namespace: NamespaceHandle, port: UInt16) throws {
            descriptor = try namespace.run {
                let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
                var own = PacketBenchmark.address("0.0.0.0", port)
                let status = withUnsafePointer(to: &own) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                    }
                }
                guard status == 0, listen(descriptor, 1024) == 0 else { throw Failure(description: "listen: \(errno)") }
                return descriptor
            }
            let descriptor = descriptor
            var thread = pthread_t()
            let argument = UnsafeMutableRawPointer(bitPattern: Int(descriptor))
            pthread_create(
                &thread, nil,
                { argument in
                    let listener = CInt(Int(bitPattern: argument))
                    var buffer = [UInt8](repeating: 0, count: 256 << 10)
                    while true {
                        let peer = accept(listener, nil, nil)
                        guard peer >= 0 else { return nil }
                        let count = recv(peer, &buffer, buffer.count, 0)
                        if count > 0, buffer[0] == 1 {
                            send(peer, &buffer, 1, Int32(MSG_NOSIGNAL))
                            // The other one ends it.
                            recv(peer, &buffer, 1, 0)
                        } else {
                            while recv(peer, &buffer, buffer.count, 0) > 0 {}
                        }
                        Glibc.close(peer)
                    }
                }, argument)
        }

        func close() { shutdown(descriptor, Int32(SHUT_RDWR)) }
    }
}
