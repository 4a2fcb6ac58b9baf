import Glibc
import JSON
import Reactor
import Testing

/// What a person sees of a mesh whose node's program dies, and whose authority is away, with the real programs.
@Suite(
    "Bad days of a mesh", .serialized,
    .enabled(if: OtherMachine.isAvailable && OtherMachine.hasProxy, "root, all programs, kubectl"),
    .timeLimit(.minutes(10)))
struct MeshBadDayTests {
    private static let objects = """
        apiVersion: v1
        kind: Namespace
        metadata: {name: shop, labels: {mesh.weft.dev/inject: enabled}}
        ---
        apiVersion: security.istio.io/v1
        kind: PeerAuthentication
        metadata: {name: default, namespace: shop}
        spec: {mtls: {mode: STRICT}}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: cart, namespace: shop}
        spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8080}]}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: cart, namespace: shop, labels: {app: cart}}
        spec:
          terminationGracePeriodSeconds: 1
          containers:
          - name: app
            image: weft.local/host
            command: [sh, -c, "mkdir -p /tmp/cart && cd /tmp/cart && exec python3 -m http.server 8080"]
            readinessProbe: {httpGet: {port: 8080, path: /}, periodSeconds: 1}
        """

    /// Asks ten times a second, and writes down what it was answered.
    private static func client(_ name: String) -> String {
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: \(name), namespace: shop, labels: {app: \(name)}}
        spec:
          terminationGracePeriodSeconds: 1
          containers:
          - name: app
            image: weft.local/host
            command:
            - sh
            - -c
            - >-
              while true; do curl -s -m 5 -o /dev/null -w "%{http_code}\\n" http://$CART_SERVICE_HOST/; sleep 0.1; done
        """
    }

    private static let route = """
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: cart, namespace: shop}
        spec:
          parentRefs: [{group: "", kind: Service, name: cart, port: 80}]
          rules:
          - filters: [{type: RequestRedirect, requestRedirect: {hostname: elsewhere, statusCode: 302}}]
        """

    private let machine: OtherMachine

    init() throws {
        machine = try OtherMachine()
        let up = try machine.weft("up", "--nodes", "1", "--dir", machine.cluster, "--without-dns")
        try #require(up.succeeded, "\(up.text)")
    }

    private func run(_ arguments: [String]) throws -> OtherMachine.Output {
        try machine.run(
            ["kubectl", "--kubeconfig", machine.cluster + "/kubeconfig", "--cache-dir", machine.directory + "/kube"]
                + arguments)
    }

    private func kubectl(_ arguments: String...) throws -> String {
        let output = try run(arguments)
        try #require(output.succeeded, "\(arguments): \(output.text)")
        return output.text
    }

    private func apply(_ text: String) throws {
        let file = machine.directory + "/manifest.yaml"
        try Files.writeAtomically(file, text)
        _ = try kubectl("apply", "-f", file)
    }

    private func waitReady(_ pod: String) throws {
        let ready = try run(["wait", "-n", "shop", "pod/\(pod)", "--for=condition=Ready", "--timeout=120s"])
        let why = try ready.succeeded ? "" : kubectl("describe", "pod", "-n", "shop", pod)
        try #require(ready.succeeded, "\(ready.text)\n\(why)")
    }

    /// Asks until the answer fits.
    private func eventually(_ what: String, _ ask: () throws -> String, _ fits: (String) -> Bool) throws {
        var last = ""
        for _ in 0..<300 {
            last = try ask()
            if fits(last) { return }
            usleep(200_000)
        }
        Issue.record("not within a minute: \(what): \(last.suffix(2000))")
    }

    /// Nothing while the node, which has them, does not answer.
    private func answers(of pod: String) throws -> [Substring] {
        let output = try run(["logs", "-n", "shop", pod, "-c", "app"])
        return output.succeeded ? output.text.split(separator: "\n") : []
    }

    private func areListed(_ status: String, _ pods: [String]) -> Bool {
        pods.allSatisfy { pod in
            status.split(separator: "\n").contains { $0.contains("\(pod).shop") || $0.contains("shop/\(pod)") }
        }
    }

    private func proxies() throws -> String { try machine.weft("proxy", "status", "--dir", machine.cluster).text }

    private func processes(_ pod: String) throws -> String {
        try kubectl(
            "get", "pod", "-n", "shop", pod, "-o",
            "jsonpath={.status.initContainerStatuses[*].containerID} {.status.initContainerStatuses[*].restartCount}")
    }

    @Test(
        "weft-node killed beneath pods of the mesh: every request is answered, and their proxies hear of what comes after"
    )
    func nodeKilled() throws {
        try apply(Self.objects)
        try waitReady("cart")
        try apply(Self.client("web"))
        try waitReady("web")
        try eventually("it is answered by mutual TLS") {
            try answers(of: "web").joined(separator: " ")
        } _: {
            $0.hasSuffix("200 200 200")
        }
        try eventually("both proxies are connected", proxies) { areListed($0, ["web", "cart"]) }
        let before = try (web: processes("web"), cart: processes("cart"))
        let known = try answers(of: "web").count

        let file = "\(machine.cluster)/run/node-1.pid"
        let node = try #require(Int32(try Files.readText(file, limit: 64).prefix { $0.isNumber }))
        kill(node, SIGKILL)
        try eventually("its program is started again") {
            try Files.readText(file, limit: 64)
        } _: { text in
            Int32(text.prefix { $0.isNumber }).map { $0 != node } ?? false
        }
        // A route that comes now reaches them through sockets that came back.
        try eventually("requests went on") {
            try "\(answers(of: "web").count)"
        } _: {
            (Int($0) ?? 0) > known + 20
        }
        let meanwhile = try answers(of: "web").dropFirst(known)
        #expect(known > 0 && meanwhile.count > 20)
        #expect(meanwhile.allSatisfy { $0 == "200" }, "\(meanwhile.filter { $0 != "200" })")
        try eventually("both proxies are connected again", proxies) { areListed($0, ["web", "cart"]) }
        try apply(Self.route)
        try eventually("the route is obeyed") {
            try answers(of: "web").last.map(String.init) ?? ""
        } _: {
            $0 == "302"
        }
        #expect(try processes("web") == before.web && processes("cart") == before.cart)
        // And a pod that comes later has its certificate from the new process.
        try apply(Self.client("later"))
        try waitReady("later")
        try eventually("the later one is answered") {
            try answers(of: "later").last.map(String.init) ?? ""
        } _: {
            $0 == "302"
        }
    }

    @Test(
        "an authority that is away when a pod starts: the pod waits, its events say for what, and it goes on by itself")
    func authorityAway() throws {
        try apply(Self.objects)
        try waitReady("cart")
        func rule(_ script: String) throws {
            let output = try machine.run("sh", "-c", script)
            try #require(output.succeeded, "\(output.text)")
        }
        // Connections that stand are cut as well.
        try rule(
            """
            nft 'add table inet away; add chain inet away in { type filter hook input priority -200; };
            add rule inet away in tcp dport 15012 reject with tcp reset'
            """)
        try apply(Self.client("web"))
        try eventually("its events say why") {
            try kubectl("describe", "pod", "-n", "shop", "web")
        } _: {
            $0.contains("MeshCertificateMissing") && $0.contains("waits for its certificate")
        }
        #expect(
            try kubectl("get", "pod", "-n", "shop", "web", "-o", "jsonpath={.status.containerStatuses[0].started}")
                != "true")
        try rule("nft delete table inet away")
        try waitReady("web")
        try eventually("it is answered") {
            try answers(of: "web").last.map(String.init) ?? ""
        } _: {
            $0 == "200"
        }
        #expect(try kubectl("describe", "pod", "-n", "shop", "web").contains("MeshCertificateIssued"))
    }
}
