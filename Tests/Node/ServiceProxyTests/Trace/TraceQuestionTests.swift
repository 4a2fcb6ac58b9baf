import Bytes
import ClusterAPI
import JSON
import Testing

@testable import ServiceProxy

@Suite("Questions about packets, by names")
struct TraceQuestionTests {
    private static func objects(_ texts: [String]) throws -> [KubeObject] {
        try texts.map { KubeObject(json: try JSONValue.parse($0)) }
    }

    private static func service(_ name: String, _ spec: String) -> String {
        #"{"metadata": {"namespace": "shop", "name": "\#(name)"}, "spec": \#(spec)}"#
    }

    private static func node(_ name: String, _ address: String, _ prefix: String) -> String {
        """
        {"metadata": {"name": "\(name)"}, "spec": {"podCIDRs": ["\(prefix)"]},
         "status": {"addresses": [{"type": "Hostname", "address": "\(name)"}, {"type": "InternalIP", "address": "\(address)"}]}}
        """
    }

    private static func pod(_ name: String, _ node: String, _ address: String, host: Bool = false) -> String {
        """
        {"metadata": {"namespace": "shop", "name": "\(name)"}, "spec": {"nodeName": "\(node)", "hostNetwork": \(host)},
         "status": {"phase": "Running", "podIP": "\(address)", "podIPs": [{"ip": "\(address)"}]}}
        """
    }

    private static func cluster() throws -> TraceCluster {
        TraceCluster(
            services: try objects([
                service(
                    "cart",
                    """
                    {"type": "NodePort", "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10", "fd00:96::10"],
                     "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}
                    """),
                service(
                    "dns",
                    """
                    {"clusterIP": "10.96.0.53", "ports": [{"name": "dns", "port": 53, "protocol": "UDP"},
                     {"name": "dns-tcp", "port": 53, "protocol": "TCP"}, {"name": "metrics", "port": 9153}]}
                    """),
                service("db", #"{"clusterIP": "None", "ports": [{"port": 5432}]}"#),
                service("away", #"{"type": "ExternalName", "externalName": "db.example"}"#),
            ]), endpointSlices: [],
            nodes: try objects([
                node("node-1", "192.0.2.1", "10.244.1.0/24"), node("node-2", "192.0.2.2", "10.244.2.0/24"),
            ]),
            pods: try objects([
                pod("web", "node-1", "10.244.1.5"), pod("cart-1", "node-2", "10.244.2.7"),
                pod("agent", "node-2", "192.0.2.2", host: true),
            ]))
    }

    struct Row: Sendable, CustomTestStringConvertible {
        var question: TraceQuestion
        /// `source>destination:port/protocol entry @node`, or what it says instead.
        var expected: String
        var testDescription: String { "\(question.source) to \(question.destination): \(expected)" }

        init(
            _ source: TraceQuestion.Source, _ destination: String, _ expected: String, _ transport: Transport? = nil,
            on node: String? = nil
        ) {
            question = TraceQuestion(source, to: destination, transport, on: node, namespace: "shop")
            self.expected = expected
        }
    }

    private static let web = TraceQuestion.Source.pod(ObjectKey(namespace: "shop", name: "web"))
    private static let agent = TraceQuestion.Source.pod(ObjectKey(namespace: "shop", name: "agent"))

    static let rows: [Row] = [
        Row(web, "shop/cart", "10.244.1.5>10.96.0.10:80/TCP pod @node-1"),
        Row(web, "cart:http", "10.244.1.5>10.96.0.10:80/TCP pod @node-1"),
        Row(web, "shop/cart:81", "10.244.1.5>10.96.0.10:81/TCP pod @node-1"),
        // At another node a pod's packet comes in from elsewhere.
        Row(web, "30080", "10.244.1.5>192.0.2.2:30080/TCP elsewhere @node-2", on: "node-2"),
        Row(web, "30080", "10.244.1.5>192.0.2.1:30080/TCP pod @node-1"),
        Row(agent, "shop/cart", "192.0.2.2>10.96.0.10:80/TCP node @node-2"),
        Row(.node, "shop/cart", "192.0.2.1>10.96.0.10:80/TCP node @node-1", on: "node-1"),
        Row(.node, "192.0.2.1:30080", "192.0.2.1>192.0.2.1:30080/TCP node @node-1"),
        Row(.external, "192.0.2.2:30080", "198.51.100.1>192.0.2.2:30080/TCP elsewhere @node-2"),
        Row(.address(address("10.244.2.7")), "10.96.0.10", "10.244.2.7>10.96.0.10:80/TCP pod @node-2"),
        Row(
            .address(address("203.0.113.9")), "30080", "203.0.113.9>192.0.2.1:30080/TCP elsewhere @node-1", on: "node-1"
        ),
        Row(web, "shop/dns:53", "10.244.1.5>10.96.0.53:53/UDP pod @node-1", .udp),
        Row(web, "shop/dns:dns-tcp", "10.244.1.5>10.96.0.53:53/TCP pod @node-1"),
        Row(web, "10.96.0.53:9153", "10.244.1.5>10.96.0.53:9153/TCP pod @node-1"),
        // What cannot be answered says what would help.
        Row(
            web, "shop/dns:53",
            "which port of Service shop/dns? it has dns (53/UDP), dns-tcp (53/TCP), metrics (9153/TCP)"),
        Row(web, "shop/db", "Service shop/db is headless"),
        Row(web, "shop/away", "Service shop/away is an ExternalName"),
        Row(web, "shop/none", "there is no Service shop/none"),
        Row(web, "a/b/c", "\"a/b/c\" is no destination"),
        Row(.external, "shop/cart", "which node does the packet meet? Say --node, one of: node-1, node-2"),
        Row(.pod(ObjectKey(namespace: "shop", name: "x")), "shop/cart", "there is no pod shop/x", on: "node-1"),
        Row(.pod(ObjectKey(namespace: "shop", name: "x")), "shop/cart", "there is no pod shop/x"),
        Row(.node, "shop/cart", "there is no node node-9, only node-1, node-2", on: "node-9"),
        Row(web, "[fd00:96::10]:80", "pod shop/web has no IPv6 address"),
    ]

    @Test("names become one packet at one node, or a sentence that says what is missing", arguments: rows)
    func resolve(row: Row) throws {
        let cluster = try Self.cluster()
        let answer: String
        do {
            let resolved = try row.question.resolve(in: cluster)
            answer =
                "\(resolved.source)>\(IPEndpoint(resolved.destination, resolved.port))/\(resolved.transport) "
                + "\(resolved.entry) @\(resolved.node)"
        } catch {
            answer = "\(error)"
        }
        #expect(answer.hasPrefix(row.expected), "\(answer)")
    }

    @Test("on the node itself its addresses tell which one it is")
    func local() throws {
        let question = TraceQuestion(.external, to: "shop/cart", namespace: "shop")
        let resolved = try question.resolve(
            in: try Self.cluster(), local: [address("192.0.2.2"), address("10.244.2.1")])
        #expect(resolved.node == "node-2")
    }

    @Test("a pod's packet comes in through what the proxy takes for pods' interfaces")
    func interface() throws {
        let resolved = try TraceQuestion(Self.web, to: "shop/cart").resolve(in: try Self.cluster())
        var configuration = ServiceProxyConfiguration.testing
        configuration.localDetector = .bridgeInterface("cni0")
        #expect(resolved.packet(configuration).interface == "cni0")
        configuration.localDetector = .interfaceNamePrefix("veth")
        #expect(resolved.packet(configuration).interface == "veth0")
    }

    @Test("endpoints are named by their pods, and the older Service comes first")
    func names() throws {
        let cluster = try Self.cluster()
        #expect(cluster.name(of: address("10.244.2.7")) == "pod shop/cart-1 on node-2")
        #expect(cluster.name(of: address("192.0.2.2")) == "node node-2")
        #expect(cluster.name(of: address("192.0.2.9")) == nil)
        var old = KubeObject(json: ["metadata": ["name": "z", "creationTimestamp": "2020-01-01T00:00:00Z"]])
        old.namespace = "a"
        let new = KubeObject(json: ["metadata": ["name": "b", "creationTimestamp": "2024-01-01T00:00:00Z"]])
        let ordered = TraceCluster(services: [new, old], endpointSlices: [], nodes: [], pods: []).services.map(\.name)
        #expect(ordered == ["z", "b"])
    }
}
