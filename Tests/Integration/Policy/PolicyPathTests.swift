import Glibc
import JSON
import Reactor
import Testing

/// Policies that a person applies with kubectl, on two nodes with the real programs: who gets through, and who does not.
@Suite(
    "Network policies, from kubectl to packets", .serialized,
    .enabled(if: OtherMachine.isAvailable && OtherMachine.hasShop, "root, all programs, kubectl"),
    .timeLimit(.minutes(5)))
struct PolicyPathTests {
    private static func pod(_ name: String, _ node: Int, _ labels: String) -> String {
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: \(name), namespace: shop, labels: {\(labels)}}
        spec:
          nodeName: node-\(node)
          terminationGracePeriodSeconds: 1
          containers:
          - {name: app, image: weft.local/host, command: [shop, --listen, ":8080", --name, \(name)], ports: [{name: http, containerPort: 8080}]}
        ---

        """
    }

    /// A stranger on the second node that runs a command, and no more.
    private static func once(_ name: String, _ command: String) -> String {
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: \(name), namespace: shop, labels: {app: stranger}}
        spec:
          nodeName: node-2
          restartPolicy: Never
          containers:
          - {name: app, image: weft.local/host, command: [sh, -c, "\(command)"]}
        """
    }

    private static let cluster =
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n"
        + pod("cart", 1, "app: cart") + pod("front", 2, "app: front") + pod("stranger", 2, "app: stranger")
        + pod("neighbour", 1, "app: stranger") + """
            apiVersion: v1
            kind: Service
            metadata: {name: cart, namespace: shop}
            spec: {selector: {app: cart}, clusterIP: 10.96.0.77, ports: [{port: 80, targetPort: http}]}
            """

    private static let policies = """
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata: {name: default-deny, namespace: shop}
        spec: {podSelector: {}, policyTypes: [Ingress]}
        ---
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata: {name: front-to-cart, namespace: shop}
        spec:
          podSelector: {matchLabels: {app: cart}}
          ingress: [{from: [{podSelector: {matchLabels: {app: front}}}], ports: [{port: http}]}]
        """

    private final class Shop {
        let machine: OtherMachine
        private let kubectl: [String]

        init() throws {
            machine = try OtherMachine()
            kubectl = [
                "kubectl", "--kubeconfig", machine.cluster + "/kubeconfig", "--cache-dir", machine.directory + "/kube",
            ]
            let output = try machine.weft("up", "--nodes", "2", "--dir", machine.cluster, "--without-dns")
            try #require(output.succeeded, "\(output.text)")
            try apply(PolicyPathTests.cluster)
            try require("wait", "-n", "shop", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
        }

        @discardableResult
        func require(_ arguments: String...) throws -> String {
            let output = try machine.run(kubectl + arguments)
            try #require(output.succeeded, "\(arguments): \(output.text)")
            return output.text
        }

        func run(_ arguments: String...) throws -> OtherMachine.Output { try machine.run(kubectl + arguments) }

        func apply(_ text: String) throws {
            let file = machine.directory + "/manifest.yaml"
            try Files.writeAtomically(file, text)
            try require("apply", "-f", file)
        }

        func address(_ pod: String) throws -> String {
            try require("get", "pod", "-n", "shop", pod, "-o", "jsonpath={.status.podIP}")
        }

        func namespace(_ node: String) throws -> String {
            let text = try Files.readText("\(machine.cluster)/run/\(node).netns", limit: 256)
            return String(text.prefix { !$0.isWhitespace })
        }

        /// What a pod gets when it asks for a URL: the node of the pod may always ask the pod.
        func fetch(_ pod: String, on node: String, _ url: String) throws -> Bool {
            let page = "http://\(try address(pod)):8080/fetch?url=\(url)"
            let output = try machine.run(
                "ip", "netns", "exec", try namespace(node), "curl", "-sS", "-f", "--max-time", "2", page)
            return output.succeeded && output.text.contains("cart")
        }

        /// Waits for it to be so.
        func eventually(_ what: String, _ condition: () throws -> Bool) throws {
            for _ in 0..<120 {
                if try condition() { return }
                usleep(100_000)
            }
            Issue.record("never: \(what)")
        }
    }

    @Test("default-deny and one that allows: at once, also for labels, new pods, open connections and after a restart")
    func path() throws {
        let shop = try Shop()
        let cart = "http://10.96.0.77/"
        for (pod, node) in [("front", "node-2"), ("stranger", "node-2"), ("neighbour", "node-1")] {
            #expect(try shop.fetch(pod, on: node, cart), "\(pod), before there are policies")
        }
        // A connection that will not be allowed, open and busy.
        try shop.apply(
            Self.once(
                "stream",
                "curl -s --speed-time 2 --speed-limit 1 -o /dev/null '\(cart)bytes?n=900000000&rate=1000000'; echo ended $?"
            )
        )
        let access = ["--dir", shop.machine.cluster]
        let file = shop.machine.directory + "/policies.yaml"
        try Files.writeAtomically(file, Self.policies)
        try shop.eventually("the open connection is seen, and would be cut") {
            let diff = try shop.machine.weft(["policy", "diff", "-f", file, "-n", "shop"] + access)
            return diff.status == 1
                && diff.text.contains("- shop/stream -> shop/cart TCP 8080: shop/default-deny, shop/front-to-cart")
                && diff.text.contains("1 open connections would be cut")
                && !diff.text.contains("- shop/front -> shop/cart TCP")
        }

        try shop.apply(Self.policies)
        try shop.eventually("strangers are kept out") { try !shop.fetch("stranger", on: "node-2", cart) }
        #expect(try shop.fetch("front", on: "node-2", cart))
        #expect(try !shop.fetch("neighbour", on: "node-1", cart), "on the cart's own node")
        let probe = try shop.machine.run(
            "ip", "netns", "exec", try shop.namespace("node-1"), "curl", "-sSf", "--max-time", "5",
            "http://\(try shop.address("cart")):8080/healthz")
        #expect(probe.succeeded, "the node itself: \(probe.text)")
        try shop.eventually("the open connection ends") {
            // curl's word for a transfer that stalls.
            try shop.run("logs", "-n", "shop", "stream").text.contains("ended 28")
        }

        // The same in words.
        let list = try shop.machine.weft(["policy", "list"] + access)
        #expect(list.text.contains("shop/front-to-cart  pods app=cart (1 pod)"), "\(list.text)")
        let allowed = try shop.machine.weft(["policy", "check", "shop/front", "->", "shop/cart:http"] + access)
        #expect(allowed.succeeded && allowed.text.contains("allowed by shop/front-to-cart"), "\(allowed.text)")
        let denied = try shop.machine.weft(["policy", "check", "shop/stranger", "shop/cart:80", "-o", "json"] + access)
        // The name is a pod's before it is a Service's: port 80 is not the pod's.
        #expect(denied.status == 1, "\(denied.text)")
        let log = try shop.machine.weft(["policy", "log"] + access)
        #expect(log.text.contains("shop/stranger -> shop/cart TCP 8080"), "\(log.text)")

        // Labels, of pods and at once.
        try shop.require("label", "pod", "-n", "shop", "stranger", "app=front", "--overwrite")
        try shop.eventually("the label lets it in") { try shop.fetch("stranger", on: "node-2", cart) }
        try shop.require("label", "pod", "-n", "shop", "stranger", "app=stranger", "--overwrite")
        try shop.eventually("the label keeps it out") { try !shop.fetch("stranger", on: "node-2", cart) }

        // From its first packet: a pod that asks for nothing but that.
        try shop.apply(
            Self.once(
                "early", "for i in 1 2 3 4 5; do curl -s --max-time 0.4 \(cart) && echo REACHED; done; echo done"))
        try shop.eventually("it has asked") {
            try shop.run("logs", "-n", "shop", "early").text.contains("done")
        }
        #expect(try !shop.require("logs", "-n", "shop", "early").contains("REACHED"))

        // The rules outlive the daemon, which finds them right when it is back.
        let pid = try #require(
            Int32(try Files.readText("\(shop.machine.cluster)/run/node-1.pid", limit: 64).prefix { $0.isNumber }))
        kill(pid, SIGKILL)
        #expect(try !shop.fetch("stranger", on: "node-2", cart))
        #expect(try shop.fetch("front", on: "node-2", cart))
        try shop.eventually("the daemon is back") {
            let text = try Files.readText("\(shop.machine.cluster)/run/node-1.pid", limit: 64)
            guard Int32(text.prefix { $0.isNumber }) != pid else { return false }
            return try shop.machine.run(
                "ip", "netns", "exec", try shop.namespace("node-1"), "curl", "-sSf", "--max-time", "2",
                "http://127.0.0.1:10248/metrics"
            ).text.contains("weft_policy_isolated_pods 2\n")
        }
        let metrics = try shop.machine.run(
            "ip", "netns", "exec", try shop.namespace("node-1"), "curl", "-sSf", "http://127.0.0.1:10248/metrics"
        ).text
        #expect(
            metrics.contains("weft_policy_element_writes_total 0\n"),
            "\(metrics.split(separator: "\n").filter { $0.contains("weft_policy") })")
        #expect(
            metrics.contains("weft_policy_packets_total{direction=\"ingress\",ip_family=\"IPv4\",verdict=\"denied\"}"))

        try shop.require("delete", "networkpolicy", "-n", "shop", "--all")
        try shop.eventually("without policies everybody may again") { try shop.fetch("neighbour", on: "node-1", cart) }
    }
}

extension OtherMachine {
    /// Whether pods can be applied that serve something.
    static var hasShop: Bool {
        access("\(programs)/shop", X_OK) == 0 && access("/usr/bin/kubectl", X_OK) == 0
    }
}
