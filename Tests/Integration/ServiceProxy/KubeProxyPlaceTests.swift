import Glibc
import JSON
import Reactor
import Testing

/// weft-node where a kube-proxy would be: beside an API server, asked by kubectl and curl, on a machine of the test's own.
@Suite(
    "The service proxy in kube-proxy's place", .serialized,
    .enabled(if: OtherMachine.isAvailable, "root and all programs"), .timeLimit(.minutes(5)))
struct KubeProxyPlaceTests {
    /// A machine with an API server, a node that kubectl made, and a web server that is a local endpoint.
    private final class Place {
        let machine: OtherMachine
        private var running: [Int32] = []
        var kubeconfig: String { machine.directory + "/kubeconfig" }
        var configuration: String { machine.directory + "/kube-proxy.yaml" }

        /// Says hello to everybody.
        private static let webServer = """
            import http.server, socketserver
            class Hello(http.server.BaseHTTPRequestHandler):
                def do_GET(self):
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(b"hello")
            socketserver.ThreadingTCPServer(("192.0.2.10", 8080), Hello).serve_forever()
            """

        init() throws {
            machine = try OtherMachine()
            // All addresses are the machine's own; virtual ones need a route out to be sent to at all.
            for command in [
                "ip addr add 192.0.2.1/24 dev lo", "ip addr add 192.0.2.10/24 dev lo",
                "ip route add default dev lo src 192.0.2.1",
            ] {
                try #require(try machine.run(command.split(separator: " ").map(String.init)).succeeded, "\(command)")
            }
            try start(
                "control",
                "\(OtherMachine.programs)/weft-control", "run", "--data-dir", machine.directory + "/control",
                "--bind-address", "127.0.0.1", "--secure-port", "16443", "--advertise-address", "127.0.0.1",
                "--service-cluster-ip-range", "10.96.0.0/16", "--kubeconfig-out", kubeconfig)
            try start("web", "python3", "-c", Self.webServer)
            try eventually("API server") { try kubectl("get", "--raw", "/readyz").succeeded }
            try Files.writeAtomically(
                configuration,
                """
                apiVersion: kubeproxy.config.k8s.io/v1alpha1
                kind: KubeProxyConfiguration
                mode: nftables
                hostnameOverride: node-1
                clientConnection: {kubeconfig: \(kubeconfig)}
                conntrack: {maxPerCore: 0}
                """)
            try apply(
                """
                {"apiVersion": "v1", "kind": "List", "items": [
                 {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}},
                 {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"clusterIP": "10.96.0.50",
                  "type": "LoadBalancer", "externalTrafficPolicy": "Local",
                  "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30080}]}},
                 {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                  "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
                  "addressType": "IPv4", "ports": [{"name": "", "port": 8080}],
                  "endpoints": [{"addresses": ["192.0.2.10"], "nodeName": "node-1"}]}]}
                """)
            let address = #"{"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}"#
            let patched = try kubectl("patch", "node", "node-1", "--subresource=status", "--type=merge", "-p", address)
            try #require(patched.succeeded, "\(patched.text)")
        }

        deinit {
            for pid in running { stop(pid, SIGKILL) }
        }

        @discardableResult
        func start(_ name: String, _ arguments: String...) throws -> Int32 {
            let pid = try machine.start(arguments, log: log(name))
            running.append(pid)
            return pid
        }

        func log(_ name: String) -> String { "\(machine.directory)/\(name).log" }

        /// Whether the program ended of the signal within a minute; it is gone in any case.
        @discardableResult
        func stop(_ pid: Int32, _ signal: Int32) -> Bool {
            running.removeAll { $0 == pid }
            kill(pid, signal)
            for _ in 0..<600 {
                if waitpid(pid, nil, WNOHANG) == pid { return true }
                usleep(100_000)
            }
            kill(pid, SIGKILL)
            waitpid(pid, nil, 0)
            return false
        }

        func kubectl(_ arguments: String...) throws -> OtherMachine.Output {
            try machine.run(["kubectl", "--kubeconfig", kubeconfig] + arguments)
        }

        func apply(_ objects: String) throws {
            let file = machine.directory + "/objects.json"
            try Files.writeAtomically(file, objects)
            let applied = try kubectl("apply", "-f", file)
            try #require(applied.succeeded, "\(applied.text)")
        }

        /// "" when nobody answers.
        func curl(_ url: String, _ more: String...) throws -> String {
            let answer = try machine.run(["curl", "-gs", "--max-time", "5"] + more + [url])
            return answer.succeeded ? answer.text : ""
        }

        func metric(_ name: String, port: UInt16 = 10249) throws -> String? {
            try curl("http://127.0.0.1:\(port)/metrics").split(separator: "\n").first { $0.hasPrefix(name + " ") }
                .map { String($0.dropFirst(name.count + 1)) }
        }

        func eventually(_ what: String, _ holds: () throws -> Bool) throws {
            for _ in 0..<600 {
                if try holds() { return }
                usleep(100_000)
            }
            let logs = ["control", "node", "node-again", "node-flags"].map { (try? Files.readText(log($0))) ?? "" }
            throw OtherMachine.Failure(text: "not within a minute: \(what)\n" + logs.joined(separator: "\n"))
        }
    }

    private static let program = "\(OtherMachine.programs)/weft-node"

    @Test("it serves, tells of itself, survives kill -9 without writing anything again, and leaves nothing behind")
    func life() throws {
        let place = try Place()
        var node = try place.start(
            "node", Self.program, "--config", place.configuration, "--roles", "service-proxy")
        try place.eventually("the cluster IP") { try place.curl("http://10.96.0.50/") == "hello" }
        #expect(try place.curl("http://192.0.2.1:30080/") == "hello")
        // Node ports are on the primary address, and on no other one.
        #expect(try place.curl("http://192.0.2.10:30080/") == "")

        let port = try place.kubectl("get", "service", "web", "-o", "jsonpath={.spec.healthCheckNodePort}").text
        let answer = try place.curl("http://192.0.2.1:\(port)/", "-i")
        #expect(answer.contains("200 OK") && answer.lowercased().contains("x-load-balancing-endpoint-weight: 1"))
        #expect(try place.curl("http://127.0.0.1:10249/proxyMode") == "nftables")
        let configz = try JSONValue.parse(try place.curl("http://127.0.0.1:10249/configz"))
        #expect(configz["kubeproxy.config.k8s.io"]?["HostnameOverride"] == "node-1")
        #expect(try JSONValue.parse(try place.curl("http://127.0.0.1:10256/healthz"))["healthy"] == true)
        #expect(try place.metric("kubeproxy_sync_proxy_rules_service_changes_total") != nil)
        try place.eventually("the event of the start") {
            try place.kubectl("get", "events.events.k8s.io", "-o", "jsonpath={.items[*].reason}").text.contains(
                "Starting")
        }

        // While it runs the tables are its own, also for another one of its kind.
        let second = try place.machine.run(Self.program, "--config", place.configuration)
        #expect(!second.succeeded && second.text.contains("weft-services"), "\(second.text)")
        let refused = try place.machine.run(Self.program, "--cleanup")
        #expect(!refused.succeeded && refused.text.contains("belongs to a program that runs"), "\(refused.text)")
        place.stop(node, SIGKILL)
        #expect(try place.curl("http://10.96.0.50/") == "hello")
        node = try place.start("node-again", Self.program, "--config", place.configuration)
        try place.eventually("in step again") {
            try Files.readText(place.log("node-again")).contains("service proxy is in step")
        }
        try place.eventually("metrics") { try place.metric("weft_service_proxy_element_writes_total") != nil }
        #expect(try place.metric("weft_service_proxy_element_writes_total") == "0")

        let deleted = try place.kubectl("delete", "endpointslice", "web-1")
        #expect(deleted.succeeded, "\(deleted.text)")
        try place.eventually("nobody here") { try place.curl("http://192.0.2.1:\(port)/", "-i").contains("503") }
        try place.eventually("refused") { try place.curl("http://10.96.0.50/") == "" }

        #expect(place.stop(node, SIGTERM))
        let cleaned = try place.machine.run(Self.program, "--cleanup")
        #expect(cleaned.succeeded && cleaned.text.contains("removed table ip weft-services"), "\(cleaned.text)")
        #expect(try place.machine.run("nft", "list", "ruleset").text == "")
    }

    @Test("kube-proxy's own flags do as well, in Go's manner")
    func flags() throws {
        let place = try Place()
        try place.start(
            "node-flags", Self.program, "--roles=service-proxy", "--kubeconfig=\(place.kubeconfig)",
            "--hostname-override=Node-1", "--cluster-cidr=10.244.0.0/16", "--proxy-mode=nftables", "-v=4",
            "--masquerade-all", "--nodeport-addresses=192.0.2.10/32", "--metrics-bind-address=127.0.0.1:11249",
            "--healthz-bind-address=127.0.0.1:11256", "--conntrack-max-per-core=0", "--logging-format=json",
            "--iptables-min-sync-period=100ms", "--oom-score-adj=100")
        try place.eventually("the node port") { try place.curl("http://192.0.2.10:30080/") == "hello" }
        #expect(try place.curl("http://192.0.2.1:30080/") == "")
        let shown = try JSONValue.parse(try place.curl("http://127.0.0.1:11249/configz"))["kubeproxy.config.k8s.io"]
        #expect(shown?["Linux"]?["MasqueradeAll"] == true && shown?["MinSyncPeriod"] == "100ms")
        #expect(shown?["HostnameOverride"] == "node-1" && shown?["NodePortAddresses"] == ["192.0.2.10/32"])
        #expect(try place.curl("http://127.0.0.1:11256/livez", "-i").contains("200 OK"))
        let first = try Files.readText(place.log("node-flags")).split(separator: "\n").first ?? ""
        #expect(try JSONValue.parse(String(first))["msg"] != nil)
    }

    /// Command lines that are refused, and what is said of it.
    static let refused: [([String], String)] = [
        (["--proxy-mode=ipvs"], "mode must be nftables"),
        (["--ipvs-scheduler=rr"], "--ipvs-scheduler cannot be honoured"),
        (["--profiling"], "enableProfiling cannot be true"), (["--vmodule=a=1"], "--vmodule cannot be honoured"),
        (["--nodeport-addresses=here"], "nodePortAddresses must be prefixes"),
        (["--feature-gates=A"], "--feature-gates: \"A\" is not NAME=true"),
        (["--healthz-port=70000"], "--healthz-port must be 0 to 65535"), (["--nonsense"], "--nonsense"),
        (["--roles=service-proxy", "--kubeconfig=/nonexistent"], "--kubeconfig /nonexistent"),
        (["--config=/nonexistent"], "--config /nonexistent"),
    ]

    @Test("what cannot be honoured is refused by name, before anything is touched", arguments: refused)
    func refusals(row: ([String], String)) throws {
        let machine = try OtherMachine()
        let output = try machine.run([Self.program] + row.0)
        #expect(!output.succeeded && output.text.contains(row.1), "\(output.text)")
        #expect(try machine.run("nft", "list", "tables").text == "")
    }

    @Test("the configuration that is written is one that is read, and cleaning up spares what is not ours")
    func errands() throws {
        let machine = try OtherMachine()
        let (first, second) = (machine.directory + "/a.yaml", machine.directory + "/b.yaml")
        let written = try machine.run(Self.program, "--write-config-to", first, "--cluster-cidr=10.0.0.0/8", "-v", "3")
        #expect(written.succeeded, "\(written.text)")
        let again = try machine.run(Self.program, "--config", first, "--write-config-to", second)
        #expect(again.succeeded, "\(again.text)")
        let (one, other) = (try Files.readText(first), try Files.readText(second))
        #expect(one == other && one.contains("clusterCIDR: 10.0.0.0/8") && one.contains("verbosity: 3"))
        try machine.run("nft", "add table ip kube-proxy; add table ip6 kube-proxy; add table ip mine")
        let cleaned = try machine.run(Self.program, "--cleanup=true")
        #expect(cleaned.succeeded && cleaned.text.contains("removed table ip6 kube-proxy"), "\(cleaned.text)")
        #expect(try machine.run("nft", "list", "tables").text == "table ip mine\n")
        let nothing = try machine.run(Self.program, "--cleanup")
        #expect(nothing.succeeded && nothing.text.contains("nothing to remove"))
        let prepared = try machine.run(Self.program, "--init-only", "--conntrack-max-per-core=0")
        #expect(prepared.succeeded, "\(prepared.text)")
        #expect(
            try machine.run("cat", "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established").text == "86400\n")
    }
}
