import Glibc
import JSON
import Reactor
import Testing

/// Pods of the mesh that may do little, and those whose sidecar needs a right, with the real programs.
@Suite(
    "Rights of pods in a mesh", .serialized, .enabled(if: OtherMachine.hasMesh, "root, all programs, kubectl"),
    .timeLimit(.minutes(10)))
struct PodRightsTests {
    private let cluster: MeshedMachine

    init() throws { cluster = try MeshedMachine() }

    /// What pods are hardened with, by the container's fields and the pod's.
    private static let hardened: [(name: String, container: [String], pod: [String])] = [
        ("bare", ["securityContext: {capabilities: {drop: [NET_ADMIN, NET_RAW]}}"], []),
        ("none", ["securityContext: {capabilities: {drop: [ALL]}}"], []),
        ("user", ["securityContext: {runAsNonRoot: true, runAsUser: 1000}"], []),
        ("frozen", ["securityContext: {readOnlyRootFilesystem: true}"], []),
        ("podwide", [], ["securityContext: {runAsNonRoot: true, runAsUser: 1000, runAsGroup: 1000, fsGroup: 1000}"]),
        (
            "strictest",
            [
                "securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, runAsNonRoot: true, "
                    + "runAsUser: 1000, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}"
            ], []
        ),
    ]

    /// Serves and asks at once, as most do.
    private static func busy(_ name: String, container: [String], pod: [String]) -> String {
        Shop.service(name)
            + Shop.pod(
                name,
                #"cd /proc/self/fd && (while true; do curl -s -m 5 -o /dev/null -w "asked %{http_code}\n" http://$CART_SERVICE_HOST/; sleep 0.2; done) & cd / && exec python3 -m http.server 8080"#,
                pod: pod,
                container: ["readinessProbe: {httpGet: {port: 8080, path: /}, periodSeconds: 1}"] + container)
    }

    private func areAnswered(_ pods: [String]) throws {
        for pod in pods {
            try cluster.eventually("\(pod) is answered by mutual TLS") {
                try cluster.lines(of: pod).filter { $0.hasPrefix("asked") }.suffix(3)
            } _: {
                $0.count == 3 && $0.allSatisfy { $0 == "asked 200" }
            }
        }
        // And each answers: who may not come by plain text, who may in the mesh.
        for pod in pods {
            try cluster.apply(Shop.client("asks-\(pod)", of: pod))
            let address = try cluster.field(".status.podIP", of: pod)
            let plain = try cluster.machine.run("sh", "-c", "\(inNode) curl -s -m 5 http://\(address):8080/")
            #expect(plain.text.contains("STRICT"), "\(pod): \(plain.text)")
        }
        for pod in pods {
            try cluster.eventually("\(pod) answers by mutual TLS") {
                try cluster.lastLine(of: "asks-\(pod)")
            } _: {
                $0 == "200"
            }
        }
    }

    /// A command's beginning that has it run in the node's network.
    private var inNode: String {
        let file = "\(cluster.machine.cluster)/run/node-1.netns"
        return "ip netns exec $(cut -d' ' -f1 \(file))"
    }

    @Test(
        "without NET_ADMIN, without any capability, as an ordinary user, on a root that is read-only: all are in the mesh"
    )
    func hardened() throws {
        try cluster.apply(Shop.namespace + Shop.strict + Shop.server("cart"))
        try cluster.waitReady("cart")
        for (name, container, pod) in Self.hardened {
            try cluster.apply(Self.busy(name, container: container, pod: pod))
        }
        for (name, _, _) in Self.hardened { try cluster.waitReady(name) }
        try areAnswered(Self.hardened.map(\.name))
    }

    @Test("a namespace of pod security \"restricted\" is in the mesh, and is told what TPROXY needs")
    func restricted() throws {
        try cluster.apply(Shop.namespace + Shop.strict)
        try cluster.kubectl("label", "namespace", "shop", "pod-security.kubernetes.io/enforce=restricted")
        let container = Self.hardened.last?.container ?? []
        let server = Shop.server("cart", container: container).replacing(
            "mkdir -p /tmp/cart && cd /tmp/cart", with: "cd /")
        try cluster.apply(server)
        try cluster.waitReady("cart")
        try cluster.apply(Self.busy("web", container: container, pod: []))
        try cluster.waitReady("web")
        try cluster.eventually("it is answered") {
            try cluster.lastLine(of: "web")
        } _: { _ in
            true
        }
        try areAnswered(["web"])
        let file = cluster.machine.directory + "/transparent.yaml"
        try Files.writeAtomically(
            file,
            Shop.pod(
                "open", "sleep 3600", annotations: "mesh.weft.dev/interceptionMode: TPROXY", container: container))
        let refused = try cluster.run(["apply", "-f", file])
        #expect(!refused.succeeded && refused.text.contains("TPROXY") && refused.text.contains("restricted"))
    }

    @Test("a TPROXY pod sees its clients, also while the node's program is away; one that must not be root says so")
    func transparent() throws {
        try cluster.apply(
            Shop.namespace + Shop.strict + Shop.service("cart")
                + Shop.backend("cart", annotations: "mesh.weft.dev/interceptionMode: TPROXY"))
        try cluster.waitReady("cart")
        try cluster.apply(Shop.client("web"))
        try cluster.waitReady("web")
        let client = try cluster.field(".status.podIP", of: "web")
        /// Requests, but the node's own probes.
        func log() throws -> [Substring] {
            try cluster.lines(of: "cart").filter { $0.contains("GET / ") && !$0.hasPrefix("169.254.7.127 ") }
        }
        try cluster.eventually("the application sees web") {
            try log().last ?? ""
        } _: {
            $0.hasPrefix("\(client) - ")
        }
        try cluster.eventually("web is answered") {
            try cluster.lastLine(of: "web")
        } _: {
            $0 == "200"
        }
        let known = try cluster.lines(of: "web").count
        let file = "\(cluster.machine.cluster)/run/node-1.pid"
        func node() throws -> pid_t? { try pid_t(Files.readText(file, limit: 64).prefix { $0.isNumber }) }
        let old = try #require(try node())
        kill(old, SIGKILL)
        try cluster.eventually("the node's program is back", node) { $0 != nil && $0 != old }
        try cluster.eventually("requests went on") {
            try cluster.lines(of: "web").count
        } _: {
            $0 > known + 20
        }
        let meanwhile = try cluster.lines(of: "web").dropFirst(known)
        #expect(meanwhile.allSatisfy { $0 == "200" }, "\(meanwhile.filter { $0 != "200" })")
        #expect(try log().last?.hasPrefix("\(client) - ") == true)
        // Its sidecar killed: nobody comes past it, and it comes back.
        kill(try cluster.sidecar(of: "cart"), SIGKILL)
        try cluster.eventually("it is back") {
            try cluster.field(".status.initContainerStatuses[0].restartCount", of: "cart")
        } _: {
            $0 == "1"
        }
        let count = try cluster.lines(of: "web").count
        try cluster.eventually("it is answered again") {
            try cluster.lines(of: "web").dropFirst(count).suffix(5)
        } _: {
            $0.count == 5 && $0.allSatisfy { $0 == "200" }
        }
        #expect(try log().allSatisfy { $0.hasPrefix("\(client) - ") })
        // A pod that as a whole must not be root: its sidecar says for itself that it is.
        try cluster.apply(
            Shop.pod(
                "open", "exec sleep 3600", annotations: "mesh.weft.dev/interceptionMode: TPROXY",
                pod: ["securityContext: {runAsNonRoot: true, runAsUser: 1000}"]))
        try cluster.waitReady("open")
    }
}
