import APIServer
import Bytes
import ClusterAPI
import ClusterClient
import Discovery
import Glibc
import HTTP
import JSON
import MeshControl
import Reactor
import Store
import TLS
import Telemetry

// The mesh's control plane on its own API server, with many proxies that see the whole mesh.
// Usage: bench-mesh [--json] [--proxies 1000] [--services 2000] [--endpoints 10] [--proxy PATH-OF-WEFT-PROXY]
// `bench-mesh proxies PATH COUNT SERVICES` is the other process, in which the proxies are.

/// A line that is seen at once, also through a pipe.
func say(_ line: String) {
    print(line)
    fflush(nil)
}

/// Seconds of CPU that this process has used.
func processSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// The same in all processes of a machine.
func monotonic() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// Resident kilobytes of a process that no file backs.
func residentKilobytes(_ process: Int32 = getpid()) -> Int {
    if process == getpid() { Heap.giveBack() }
    let text = (try? Files.readText("/proc/\(process)/smaps_rollup")) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("Anonymous:") } ?? ""
    return Int(line.filter(\.isNumber)) ?? 0
}

func hostName(_ number: Int) -> String { "s\(number).shop.svc.cluster.local" }

/// The other process: connects them all, says so, and then says when each change has reached the last of them.
func runProxies(path: String, count: Int, services: Int) async throws {
    let group = try EventLoopGroup(count: 1, name: "proxies")
    let loop = group.all[0]
    let endpoints = (0..<services).map { "outbound|80||\(hostName($0))" }
    let routes = (0..<services).map { "\(hostName($0)):80" }
    final class Tally: @unchecked Sendable {
        // Of the loop.
        var told = 0
    }
    let tally = Tally()
    try await loop.perform {
        try await withThrowingTaskGroup(of: SimulatedProxy.self) { tasks in
            var proxies: [SimulatedProxy] = []
            // A few at a time, so that what the kernel holds for those that wait is not counted.
            var next = 0
            while proxies.count < count {
                while next < count, next - proxies.count < 8 {
                    let name = "sidecar~web-\(next).shop"
                    tasks.addTask(executorPreference: loop) {
                        var proxy = try await SimulatedProxy(path: path, name: name, on: loop)
                        try await proxy.subscribe(endpoints: endpoints, routes: routes)
                        return proxy
                    }
                    next += 1
                }
                if let proxy = try await tasks.next() { proxies.append(proxy) }
            }
            say("ready")
            for proxy in proxies {
                tasks.addTask(executorPreference: loop) {
                    var proxy = proxy
                    while true {
                        _ = try await proxy.next()
                        tally.told += 1
                        if tally.told % count == 0 { say("\(monotonic())") }
                    }
                }
            }
            while try await tasks.next() != nil {}
        }
    }
}

struct Settings {
    var isJSON = false
    var proxies = 1000
    var services = 2000
    var endpoints = 10
    var proxyPath = ""

    init(_ arguments: [String]) {
        var rest = arguments[...]
        while let name = rest.popFirst() {
            switch name {
            case "--json": isJSON = true
            case "--proxies": proxies = Int(rest.popFirst() ?? "") ?? proxies
            case "--services": services = Int(rest.popFirst() ?? "") ?? services
            case "--endpoints": endpoints = Int(rest.popFirst() ?? "") ?? endpoints
            case "--proxy": proxyPath = rest.popFirst() ?? ""
            default:
                print("bench-mesh: no such option: \(name)")
                exit(2)
            }
        }
    }
}

func slice(_ number: Int, _ settings: Settings, last: Int) -> KubeObject {
    var slice = KubeObject(
        apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace: "shop", name: "s\(number)")
    slice.json["metadata"]?["labels"] = ["kubernetes.io/service-name": .string("s\(number)")]
    slice.json["addressType"] = "IPv4"
    slice.json["ports"] = [["name": "http", "port": 8080, "protocol": "TCP"]]
    slice.json["endpoints"] = .array(
        (0..<settings.endpoints).map { index in
            let host = index == settings.endpoints - 1 ? last : index + 1
            return [
                "addresses": [.string("10.\(64 + number >> 8).\(number & 255).\(host)")], "conditions": ["ready": true],
            ]
        })
    return slice
}

func measure(_ settings: Settings) async throws {
    let folder = "/tmp/bench-mesh-\(getpid())"
    mkdir(folder, 0o755)
    defer { try? Files.removeTree(folder) }
    let group = try EventLoopGroup(count: 1, name: "bench")
    let loop = group.all[0]
    let store = try SQLiteStore(path: folder + "/state.db")
    let api = APIServer(
        store: store,
        config: APIServerConfig(
            serviceCIDRs: [CIDR("10.96.0.0/12")!], advertiseAddress: IPAddress(v4: 172, 30, 0, 1),
            serviceAccountIssuer: "https://kubernetes.default.svc", serviceAccountKey: try PrivateKey.generate()))
    try await loop.perform {
        try await api.prepare()
        let client = KubeClient(api.transport())
        let plane = MeshControlPlane(client, domain: "cluster.local", loop: loop, log: Log.shared)
        let path = folder + "/xds.sock"
        let server = HTTPServer(
            group: group, address: .unix(path: path), limits: DiscoveryServer.limits
        ) { _ in plane.server }
        _ = try await server.start()
        _ = try await client.create(
            GroupVersionResource(resource: "namespaces"), KubeObject(apiVersion: "v1", kind: "Namespace", name: "shop"))
        _ = try await client.create(
            GroupVersionResource(resource: "serviceaccounts"),
            KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: "shop", name: "web"))
        for number in 0..<settings.services {
            var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "shop", name: "s\(number)")
            service.json["spec"] = [
                "selector": ["app": .string("s\(number)")],
                "ports": [["name": "http", "port": 80, "targetPort": 8080]],
            ]
            _ = try await client.create(.services, service)
            _ = try await client.create(.endpointSlices, slice(number, settings, last: settings.endpoints))
        }
        for number in 0..<settings.proxies {
            var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "shop", name: "web-\(number)")
            pod.json["metadata"]?["labels"] = ["app": "s0"]
            pod.json["metadata"]?["annotations"] = ["mesh.weft.dev/status": "{}"]
            pod.json["spec"] = [
                "serviceAccountName": "web", "containers": [["name": "app", "image": "app"]],
            ]
            _ = try await client.create(.pods, pod)
        }
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask(executorPreference: loop) { await plane.run() }
            defer { tasks.cancelAll() }
            try await run(settings, client, path, loop)
        }
    }
    exit(0)
}

func run(_ settings: Settings, _ client: KubeClient, _ path: String, _ loop: EventLoop) async throws {
    let (reading, writing) = try ChildProcess.makePipe()
    try await loop.sleep(for: .seconds(2))
    let before = residentKilobytes()
    let start = processSeconds()
    var configuration = ChildProcess.Configuration([
        CommandLine.arguments[0], "proxies", path, "\(settings.proxies)", "\(settings.services)",
    ])
    configuration.descriptors = [1: writing, 2: 2]
    configuration.deathSignal = SIGKILL
    let proxies = try ChildProcess(configuration, on: loop)
    close(writing)
    let output = try await StreamConnection.adopt(reading, on: loop)
    var text = ""
    func line() async throws -> String {
        while !text.contains("\n") {
            let bytes = try await output.read()
            if bytes.isEmpty { return "" }
            text += String(decoding: bytes, as: UTF8.self)
        }
        let end = text.firstIndex(of: "\n")!
        defer { text = String(text[text.index(after: end)...]) }
        return String(text[..<end])
    }
    guard try await line() == "ready" else {
        print("the proxies did not connect")
        exit(1)
    }
    let connected = processSeconds() - start
    try await loop.sleep(for: .seconds(2))
    let memory = Double(residentKilobytes() - before) / Double(settings.proxies)
    var (times, cpu) = ([Double](), [Double]())
    for round in 0..<20 {
        let number = (7 + round) % settings.services
        var changed = slice(number, settings, last: 200 + round)
        changed.resourceVersion = try await client.get(
            .endpointSlices, ObjectKey(namespace: "shop", name: "s\(number)")
        ).resourceVersion
        try await loop.sleep(for: .milliseconds(300))
        let (began, used) = (monotonic(), processSeconds())
        _ = try await client.update(.endpointSlices, changed)
        guard let end = Double(try await line()) else { break }
        times.append((end - began) * 1e3)
        // With what the proxies answer.
        try await loop.sleep(for: .milliseconds(100))
        cpu.append((processSeconds() - used) * 1e3)
    }
    proxies.kill(9)
    var rows: [(String, Double, String)] = [
        ("one endpoint's change reaches all, median", median(times), "ms"),
        ("one endpoint's change reaches all, worst of 20", times.max() ?? 0, "ms"),
        ("control's CPU for it, with the API's write", median(cpu), "ms"),
        ("control's memory a connected proxy", memory, "KB"),
        ("control's CPU to give a proxy the whole mesh", connected / Double(settings.proxies) * 1e3, "ms"),
    ]
    if !settings.proxyPath.isEmpty {
        rows.append(("weft-proxy that has the whole mesh", try await proxyMemory(settings, path, loop), "KB"))
    }
    if settings.isJSON {
        for row in rows { print("{\"name\": \"\(row.0)\", \"value\": \(row.1), \"unit\": \"\(row.2)\"}") }
    } else {
        print("\(settings.proxies) proxies, \(settings.services) Services of \(settings.endpoints) endpoints")
        for row in rows { print("\(row.0): \((row.1 * 100).rounded() / 100) \(row.2)") }
    }
}

func median(_ values: [Double]) -> Double { values.isEmpty ? 0 : values.sorted()[values.count / 2] }

/// A real sidecar, at rest once it has all listeners.
func proxyMemory(_ settings: Settings, _ path: String, _ loop: EventLoop) async throws -> Double {
    let bootstrap = """
        node: {id: sidecar~web-0.shop, cluster: web.shop}
        dynamic_resources:
          ads_config:
            api_type: DELTA_GRPC
            transport_api_version: V3
            grpc_services: [{envoy_grpc: {cluster_name: xds-grpc}}]
          cds_config: {ads: {}, initial_fetch_timeout: 0s, resource_api_version: V3}
          lds_config: {ads: {}, initial_fetch_timeout: 0s, resource_api_version: V3}
        static_resources:
          clusters:
          - name: xds-grpc
            type: STATIC
            typed_extension_protocol_options:
              envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
                explicit_http_config: {http2_protocol_options: {}}
            load_assignment:
              cluster_name: xds-grpc
              endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: \(path)}}}}]}]
          - {name: sds-grpc, type: STATIC}
        """
    var configuration = ChildProcess.Configuration([
        settings.proxyPath, "--config-yaml", bootstrap, "--concurrency", "1", "--log-level", "off",
    ])
    configuration.networkNamespace = try NetworkNamespace.make()
    configuration.deathSignal = SIGKILL
    let proxy = try ChildProcess(configuration, on: loop)
    defer { proxy.kill(9) }
    var last = -1
    while true {
        try await loop.sleep(for: .seconds(3))
        let now = residentKilobytes(proxy.processID)
        if now == last { return Double(now) }
        last = now
    }
}

if CommandLine.arguments.count == 5, CommandLine.arguments[1] == "proxies" {
    try await runProxies(
        path: CommandLine.arguments[2], count: Int(CommandLine.arguments[3])!, services: Int(CommandLine.arguments[4])!)
} else {
    try await measure(Settings(Array(CommandLine.arguments.dropFirst())))
}
