import Bytes
import CLinux
import ClusterAPI
import ClusterClient
import ClusterFixture
import Glibc
import HTTP
import JSON
import MeshAPI
import MeshNode
import Reactor
import Synchronization
import TLS
import Telemetry
import TestSupport
import Testing

@testable import Discovery
@testable import MeshControl
@testable import XDS

/// A cluster's API and its mesh, with pods in network namespaces of their own: real applications behind real sidecars, whose
/// connections netfilter redirects as it does in a cluster.
///
/// Belongs to its loop; pods are added by the test that made it.
final class MeshLab: @unchecked Sendable {
    // `@unchecked Sendable`: everything that changes is changed on the loop.
    enum Sidecar: String, Sendable, CaseIterable { case weft, envoy, none }

    struct Pod: Sendable {
        var key: ObjectKey
        var account: String
        var address: String
        /// Where the lab is dual-stack.
        var address6: String
        var namespace: CInt
        /// What its proxy has of files.
        var folder: String
    }

    static let isAvailable = getuid() == 0 && access("/usr/sbin/nft", X_OK) == 0 && program != nil
    static let domain = "cluster.local"

    static let program = BuiltPrograms.path("weft-proxy")

    let client: KubeClient
    let plane: MeshControlPlane
    private let loop: EventLoop
    private let group: EventLoopGroup
    private let folder: ScratchFolder
    private let authority: CertificateAuthority
    /// Where proxies hear the control plane.
    private let server: HTTPServer
    /// Where pods meet: a bridge.
    private let node: CInt
    private var processes: [ChildProcess] = []
    private var pods: [String: Pod] = [:]
    private var sidecars: [String: ChildProcess] = [:]
    private var accounts: Set<ObjectKey> = []
    /// Pods and Services have addresses of both families.
    private let isDualStack: Bool

    private init(
        _ client: KubeClient, _ plane: MeshControlPlane, _ server: HTTPServer, _ group: EventLoopGroup,
        _ folder: ScratchFolder, isDualStack: Bool
    ) throws {
        self.server = server
        self.isDualStack = isDualStack
        (self.client, self.plane, self.group, self.folder) = (client, plane, group, folder)
        loop = group.all[0]
        authority = try CertificateAuthority.create(commonName: "mesh test")
        node = try NetworkNamespace.make()
    }

    deinit { close(node) }

    static func run(
        isDualStack: Bool = false, _ body: @escaping @Sendable (MeshLab) async throws -> Void
    ) async throws {
        try await TestAPI.run(serviceCIDRs: isDualStack ? ["10.96.0.0/16", "fd00:96::/112"] : ["10.96.0.0/16"]) {
            try await serve($0, isDualStack, body)
        }
    }

    private static func serve(
        _ api: TestAPI, _ isDualStack: Bool, _ body: @escaping @Sendable (MeshLab) async throws -> Void
    ) async throws {
        let (client, group, folder) = (api.client, api.group, api.folder)
        // Proxies are another user.
        chmod(folder.path, 0o755)
        let plane = MeshControlPlane(client, domain: domain, loop: api.loop, log: Log.shared)
        let server = HTTPServer(
            group: group, address: .unix(path: folder.path + "/xds.sock"), unixMode: 0o666,
            limits: DiscoveryServer.limits
        ) { _ in plane.server }
        _ = try await server.start()
        let lab = try MeshLab(client, plane, server, group, folder, isDualStack: isDualStack)
        for namespace in ["shop", "other"] {
            try await client.makeNamespace(namespace)
        }
        try await lab.script(
            lab.node,
            """
            ip link set lo up; ip link add br0 type bridge; ip link set br0 up; ip addr add 10.244.0.1/16 dev br0
            \(isDualStack ? "ip addr add fd00:244::1/64 dev br0 nodad" : "")
            # Nobody is at a Service's address but by a sidecar, and whoever comes there is told so at once.
            nft -f - <<END
            table inet services {
              chain refusal {
                type filter hook prerouting priority filter
                ip daddr 10.96.0.0/16 meta l4proto tcp reject with tcp reset
                ip6 daddr fd00:96::/112 meta l4proto tcp reject with tcp reset
              }
            }
            END
            """)
        defer { lab.end() }
        try await TestAPI.beside(plane.run) { try await body(lab) }
    }

    private func end() {
        for process in processes { process.kill(9) }
        for pod in pods.values { close(pod.namespace) }
    }

    // MARK: Pods

    static let script = #filePath.replacing("MeshLab.swift", with: "app.py")

    /// A pod with an application, ready behind its sidecar.
    @discardableResult
    func pod(
        _ name: String, in namespace: String = "shop", account: String, sidecar: Sidecar = .weft, status: Int = 200,
        annotations: [String: String] = [:]
    ) async throws -> Pod {
        let key = ObjectKey(namespace: namespace, name: name)
        if accounts.insert(ObjectKey(namespace: namespace, name: account)).inserted {
            try await client.makeAccount(account, in: namespace)
        }
        var object = KubeObject(apiVersion: "v1", kind: "Pod", namespace: namespace, name: name)
        object.json["metadata"]?["labels"] = ["app": .string(account)]
        object.annotations = annotations
        if sidecar != .none { object.annotations[MeshName.status] = "{}" }
        object.json["spec"] = [
            "serviceAccountName": .string(account), "containers": [["name": "app", "image": "app"]],
        ]
        _ = try await client.create(.pods, object)
        let number = pods.count + 2
        let pod = Pod(
            key: key, account: account, address: "10.244.1.\(number)", address6: "fd00:244::\(number)",
            namespace: try NetworkNamespace.make(),
            folder: "\(folder.path)/\(namespace)-\(name)")
        pods[name] = pod
        mkdir(pod.folder, 0o777)
        chmod(pod.folder, 0o777)
        try await script(
            node,
            """
            ip link add v\(number) type veth peer name eth0 netns /proc/\(getpid())/fd/\(pod.namespace)
            ip link set v\(number) master br0; ip link set v\(number) up
            """)
        try await script(
            pod.namespace,
            """
            ip link set lo up; ip link set eth0 up; ip addr add \(pod.address)/16 dev eth0; ip route add default via 10.244.0.1
            """)
        if isDualStack {
            try await script(
                pod.namespace,
                "ip addr add \(pod.address6)/64 dev eth0 nodad; ip -6 route add default via fd00:244::1")
        }
        let plan = try CapturePlan(MeshAnnotations(annotations))
        if sidecar != .none {
            try PodCapture.install(plan, namespace: "/proc/self/fd/\(pod.namespace)", hasIPv6: isDualStack)
        }
        try await start(["python3", Self.script, "serve", name, "\(status)"], in: pod)
        try await eventually("the application of \(name) listens") {
            try await self.get("http://127.0.0.1:8080/", from: pod).status == status
        }
        guard sidecar != .none else { return pod }
        try await serveSecrets(pod)
        try await startSidecar(sidecar, pod, keepsClients: plan.keepsClients)
        return pod
    }

    private func startSidecar(_ sidecar: Sidecar, _ pod: Pod, keepsClients: Bool) async throws {
        sidecars[pod.key.name] = try await start(proxy(sidecar, pod, keepsClients: keepsClients), in: pod)
        try await eventually("the sidecar of \(pod.key) is ready") {
            let text = (try? Files.readText("\(pod.folder)/admin")) ?? ""
            guard !text.isEmpty else { return false }
            let answer = try await self.run(["curl", "-s", "http://\(text)/listeners"], in: pod)
            return answer.contains("virtualInbound") && answer.contains("virtualOutbound")
        }
    }

    /// Brings back what `killSidecar` took, as the kubelet would.
    func restartSidecar(_ pod: Pod) async throws {
        unlink("\(pod.folder)/admin")
        try await startSidecar(.weft, pod, keepsClients: false)
    }

    /// No proxy reaches the control plane from now on.
    func stopControlPlane() async {
        await server.drain(deadline: .zero)
        unlink(folder.path + "/xds.sock")
    }

    /// Takes a pod's sidecar away.
    func killSidecar(_ pod: Pod) async throws {
        guard let sidecar = sidecars.removeValue(forKey: pod.key.name) else { return }
        sidecar.kill(9)
        _ = try await sidecar.exitStatus
    }

    private func proxy(_ sidecar: Sidecar, _ pod: Pod, keepsClients: Bool) throws -> [String] {
        let bootstrap = "\(pod.folder)/bootstrap.yaml"
        try Files.writeAtomically(bootstrap, Array(self.bootstrap(pod).utf8), mode: 0o644, sync: false)
        let common = [
            "-c", bootstrap, "--admin-address-path", "\(pod.folder)/admin", "--concurrency", "1", "--drain-strategy",
            "immediate",
            "--drain-time-s", "5",
        ]
        // As injection has it.
        let user =
            ["setpriv", "--regid", "1337", "--clear-groups"]
            + (keepsClients ? ["--bounding-set", "-all,+net_admin"] : ["--reuid", "1337"])
        return switch sidecar {
        case .weft, .none: user + [Self.program ?? ""] + common + ["--log-path", "\(pod.folder)/log"]
        case .envoy:
            user + [EnvoyBinary.path ?? ""] + common + ["--log-path", "\(pod.folder)/log", "--use-dynamic-base-id"]
        }
    }

    private func bootstrap(_ pod: Pod) -> String {
        """
        node:
          id: sidecar~\(pod.key.name).\(pod.key.namespace)
          cluster: \(pod.account).\(pod.key.namespace)
          metadata: {STATE_FILE: \(pod.folder)/state}
        admin: {address: {socket_address: {address: 127.0.0.1, port_value: 15000}}}
        \(ProxyBootstrap.discovery)
        static_resources:
          clusters:
        \(ProxyBootstrap.pipe("xds-grpc", "\(folder.path)/xds.sock"))
        \(ProxyBootstrap.pipe("sds-grpc", "\(pod.folder)/sds.sock"))
        """
    }

    /// The socket of the pod's node, of which the pod's identity comes.
    private func serveSecrets(_ pod: Pod) async throws {
        let name = "spiffe://\(Self.domain)/ns/\(pod.key.namespace)/sa/\(pod.account)"
        let identity = try authority.issue(
            CertificateTemplate(
                subject: DistinguishedName(commonName: pod.key.name), names: AlternativeNames(uris: [name]),
                purpose: .peer))
        func inline(_ text: String) -> JSONValue { ["inline_string": .string(text)] }
        let secrets: [String: JSONValue] = [
            "default": [
                "name": "default",
                "tls_certificate": [
                    "certificate_chain": inline(identity.chain.map(\.pem).joined()),
                    "private_key": inline(identity.key.pem),
                ],
            ],
            "ROOTCA": [
                "name": "ROOTCA", "validation_context": ["trusted_ca": inline(authority.certificate.pem)],
            ],
        ]
        let scope = ServedScope("secrets")
        let discovery = DiscoveryServer(loop: loop, identifier: "node") { _, _ in [scope] }
        let changes = try secrets.map { ServedChange(.secret, $0.key, try Message.bytes(of: .secret, $0.value)) }
        discovery.publish(changes, in: scope)
        let held = Held(discovery)
        let server = HTTPServer(
            group: group, address: .unix(path: "\(pod.folder)/sds.sock"), unixMode: 0o666,
            limits: DiscoveryServer.limits
        ) { _ in held.server }
        _ = try await server.start()
    }

    private struct Held: @unchecked Sendable {
        let server: DiscoveryServer
        init(_ server: DiscoveryServer) { self.server = server }
    }

    // MARK: Programs in pods

    @discardableResult
    private func start(_ arguments: [String], in pod: Pod) async throws -> ChildProcess {
        var configuration = ChildProcess.Configuration(arguments)
        configuration.networkNamespace = pod.namespace
        let output = open("\(pod.folder)/output", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
        guard output >= 0 else { throw Failure(description: "no output for \(pod.key)") }
        defer { close(output) }
        configuration.descriptors = [1: output]
        let process = try await ChildProcess.start(configuration, on: loop)
        processes.append(process)
        return process
    }

    /// Runs a shell script on the node.
    func onNode(_ text: String) async throws { try await script(node, text) }

    /// Status and body of a request of the node's.
    func probe(_ url: String, from source: String) async throws -> (status: Int, body: String) {
        var configuration = ChildProcess.Configuration(
            ["curl", "-s", "-m", "30", "--interface", source, "-w", "\n%{http_code}", url])
        configuration.networkNamespace = node
        return Self.answer(try await ChildProcess.run(configuration, on: loop, timeout: .seconds(60)).text)
    }

    /// What a program says on its standard output, whatever its end.
    func run(_ arguments: [String], in pod: Pod) async throws -> String {
        var configuration = ChildProcess.Configuration(arguments)
        configuration.networkNamespace = pod.namespace
        return try await ChildProcess.run(configuration, on: loop, timeout: .seconds(60)).text
    }

    private func script(_ namespace: CInt, _ text: String) async throws {
        var configuration = ChildProcess.Configuration(["sh", "-ec", text])
        configuration.networkNamespace = namespace
        // A path below /proc/PID/fd is looked up by who asks, so it must be ours.
        let output = try await ChildProcess.run(configuration, on: loop, timeout: .seconds(60))
        guard output.status.isSuccess else { throw Failure(description: "\(text): \(output.errorText)") }
    }

    struct Failure: Error, CustomStringConvertible { var description: String }

    /// Something that runs beside the test, until it is asked what it saw.
    struct Watch: Sendable {
        fileprivate let process: ChildProcess
        fileprivate let output: StreamConnection
        fileprivate let input: CInt

        func end() async throws -> [String: Int] {
            close(input)
            var text: [UInt8] = []
            while true {
                let more = try await output.read()
                if more.isEmpty { break }
                text += more
            }
            _ = try await process.exitStatus
            let json = try JSONValue.parse(text.drop { $0 != UInt8(ascii: "{") }.map(\.self))
            return Dictionary(
                uniqueKeysWithValues: (json.object?.members ?? []).map { ($0.key, Int($0.value.int ?? 0)) })
        }
    }

    private func watch(_ arguments: [String], _ namespace: CInt) async throws -> Watch {
        let (reading, writing) = try ChildProcess.makePipe()
        let (input, held) = try ChildProcess.makePipe()
        var configuration = ChildProcess.Configuration(["python3", Self.script] + arguments)
        configuration.networkNamespace = namespace
        configuration.descriptors = [0: input, 1: writing]
        let process = try await ChildProcess.start(configuration, on: loop)
        processes.append(process)
        close(input)
        close(writing)
        return Watch(process: process, output: try await StreamConnection.adopt(reading, on: loop), input: held)
    }

    /// Requests in turn, without a pause.
    func load(from pod: Pod, _ urls: String...) async throws -> Watch {
        try await watch(["load"] + urls, pod.namespace)
    }

    /// Packets between pods that have a word in the clear.
    func sniff(_ word: String) async throws -> Watch {
        let watch = try await watch(["sniff", word], node)
        _ = try await watch.output.read()
        return watch
    }

    /// Status and body of a request.
    func get(_ url: String, from pod: Pod, _ more: String...) async throws -> (status: Int, body: String) {
        try await get(url, from: pod, more)
    }

    func get(_ url: String, from pod: Pod, _ more: [String]) async throws -> (status: Int, body: String) {
        let start = ContinuousClock.now
        let answer = Self.answer(
            try await run(["curl", "-s", "-m", "30", "-w", "\n%{http_code}", url] + more, in: pod))
        if answer.status == 0, .now - start > .seconds(29) {
            Issue.record("\(url) from \(pod.key): no answer in 30 s\n\(await sight())")
        }
        return answer
    }

    /// Connections of all pods, and what their proxies have counted.
    private func sight() async -> String {
        var text = ""
        for (name, pod) in pods.sorted(by: { $0.key < $1.key }) {
            text += "\(name)\n" + ((try? await run(["ss", "-tanpoi"], in: pod)) ?? "")
            guard let admin = try? await adminAddress(pod) else { continue }
            for page in ["stats?usedonly", "clusters"] {
                text += (try? await run(["curl", "-s", "-m", "5", "http://\(admin)/\(page)"], in: pod)) ?? ""
            }
        }
        return text
    }

    private static func answer(_ text: String) -> (status: Int, body: String) {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        return (Int(lines.last ?? "") ?? 0, lines.dropLast().joined(separator: "\n"))
    }

    /// What its programs wrote on their standard output.
    func output(_ pod: Pod) throws -> String { try Files.readText("\(pod.folder)/output") }

    func adminAddress(_ pod: Pod) async throws -> String { try Files.readText("\(pod.folder)/admin") }

    // MARK: Objects

    /// A Service with a port of HTTP and one of a stream whose server speaks first.
    ///
    /// - Returns: Its address.
    func service(
        _ name: String, in namespace: String = "shop", app: String, isHeadless: Bool = false,
        over family: String = "IPv4"
    ) async throws -> String {
        var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: namespace, name: name)
        service.json["spec"] = [
            "selector": ["app": .string(app)],
            "ipFamilyPolicy": "SingleStack", "ipFamilies": [.string(family)],
            "ports": [
                ["name": "http", "port": 80, "targetPort": 8080],
                ["name": "tcp-greet", "port": 90, "targetPort": 9000],
            ],
        ]
        if isHeadless { service.json["spec"]?["clusterIP"] = "None" }
        return try await client.create(.services, service).json.text("spec", "clusterIP")
    }

    func endpoints(
        _ service: String, in namespace: String = "shop", _ pods: [Pod], over family: String = "IPv4"
    ) async throws {
        let endpoints = pods.map { pod in
            var endpoint = KubeObject.endpoint(family == "IPv4" ? pod.address : pod.address6)
            endpoint["targetRef"] = [
                "kind": "Pod", "namespace": .string(namespace), "name": .string(pod.key.name),
            ]
            return endpoint
        }
        try await client.put(
            .endpointSlices,
            .slice(of: service, in: namespace, family: family, ports: ["http": 8080, "tcp-greet": 9000], endpoints))
    }

    func policy(
        _ kind: String, _ name: String, in namespace: String = "shop", dry: Bool = false, _ spec: JSONValue
    ) async throws {
        var object = KubeObject(apiVersion: "security.istio.io/v1", kind: kind, namespace: namespace, name: name)
        if dry { object.json["metadata"]?["annotations"] = [AuthorizationPolicy.dryRunAnnotation: "true"] }
        object.json["spec"] = spec
        try await client.put(.policies(kind), object)
    }

    /// Status and reason of a condition of a policy; empty where there is none.
    func condition(_ kind: String, _ name: String, _ type: String) async throws -> String {
        let object = try await client.get(.policies(kind), ObjectKey(namespace: "shop", name: name))
        let condition = object.status.list("conditions").first { $0.text("type") == type }
        return condition.map { "\($0.text("status")) \($0.text("reason"))" } ?? ""
    }

    /// An HTTPRoute on a Service with one rule, to itself.
    func route(_ name: String, to service: String, _ filter: JSONValue) async throws {
        try await route(
            "HTTPRoute", name, on: service, 80,
            ["rules": [["filters": [filter], "backendRefs": [["name": .string(service), "port": 80]]]]])
    }

    /// A route of any kind on a port of a Service.
    func route(_ kind: String, _ name: String, on service: String, _ port: Int64, _ spec: JSONValue) async throws {
        var route = KubeObject(apiVersion: "gateway.networking.k8s.io/v1", kind: kind, namespace: "shop", name: name)
        var spec = spec
        spec["parentRefs"] = [["group": "", "kind": "Service", "name": .string(service), "port": .int(port)]]
        route.json["spec"] = spec
        try await client.put(
            GroupVersionResource(group: "gateway.networking.k8s.io", resource: kind.lowercased() + "s"), route)
    }

    /// Of a route's first parent.
    func routeCondition(_ name: String, _ type: String) async throws -> (status: String, message: String) {
        let object = try await client.get(.httpRoutes, ObjectKey(namespace: "shop", name: name))
        let condition = object.status.list("parents").first?.list("conditions").first { $0.text("type") == type }
        return (condition?.text("status") ?? "", condition?.text("message") ?? "")
    }

    func remove(_ kind: String, _ name: String, in namespace: String = "shop") async throws {
        try await client.delete(.policies(kind), ObjectKey(namespace: namespace, name: name))
    }

    /// An HTTPRoute on a Service: testers to one backend, all others by weight.
    func split(_ service: String, _ weights: [String: Int], testers: String) async throws {
        var route = KubeObject(
            apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", namespace: "shop", name: service)
        let backends = weights.sorted { $0.key < $1.key }.map { name, weight -> JSONValue in
            ["name": .string(name), "port": 80, "weight": .int(Int64(weight))]
        }
        route.json["spec"] = [
            "parentRefs": [["group": "", "kind": "Service", "name": .string(service), "port": 80]],
            "rules": [
                ["backendRefs": .array(backends)],
                [
                    "matches": [["headers": [["name": "x-tester", "value": "yes"]]]],
                    "backendRefs": [["name": .string(testers), "port": 80]],
                ],
            ],
        ]
        try await client.put(.httpRoutes, route)
    }

    /// Waits until it holds; what throws does not hold yet.
    func eventually(
        _ what: String, _ condition: () async throws -> Bool, at place: SourceLocation = #_sourceLocation
    ) async throws {
        try await TestSupport.eventually(what, on: loop, condition, otherwise: { state() }, at: place)
    }

    /// What the control plane knows, and the proxies' last words.
    private func state() -> String {
        var lines = ["the control plane knows Services \(plane.model.services.keys.map(\.name).sorted())"]
        lines += plane.server.status().map { "\($0.node.id): behind \($0.behind), refuses \($0.refusals)" }
        for pod in pods.values {
            let log = (try? Files.readText("\(pod.folder)/log")) ?? ""
            if !log.isEmpty { lines.append("--- \(pod.key)\n" + log.suffix(3000)) }
        }
        return lines.joined(separator: "\n")
    }
}
