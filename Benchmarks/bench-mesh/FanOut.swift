import APIServer
import Bytes
import ClusterAPI
import ClusterClient
import Discovery
import Glibc
import HTTP
import MeshControl
import Reactor
import Store
import TLS
import Telemetry

/// The control plane on its own API server, in this process, and how long it takes to tell all proxies of a change.
struct FanOut {
    let options: Options
    private let folder = "/tmp/bench-mesh-\(getpid())"

    private struct Way {
        var name: String
        var way: ProxyFleet.Way
    }

    private var ways: [Way] {
        let (plain, secure) = (folder + "/plain.sock", folder + "/secure.sock")
        return [
            Way(name: "delta, TLS", way: .init(address: secure, form: .delta, identity: folder)),
            Way(name: "delta, plain text", way: .init(address: plain, form: .delta, identity: nil)),
            Way(name: "state of the world, TLS", way: .init(address: secure, form: .sotw, identity: folder)),
            Way(name: "state of the world, plain text", way: .init(address: plain, form: .sotw, identity: nil)),
        ].filter { options.allForms || $0.way.form == .delta }
    }

    func run() async throws {
        try Files.makeDirectories(folder, mode: 0o700)
        defer { try? Files.removeTree(folder) }
        let group = try EventLoopGroup(count: 1, name: "bench")
        let loop = group.all[0]
        let store = try SQLiteStore(path: folder + "/state.db")
        let api = APIServer(
            store: store,
            config: APIServerConfig(
                serviceCIDRs: [try cidr("10.96.0.0/12")], advertiseAddress: IPAddress(v4: 172, 30, 0, 1),
                serviceAccountIssuer: "https://kubernetes.default.svc", serviceAccountKey: try PrivateKey.generate()))
        try await loop.perform {
            try await api.prepare()
            let client = KubeClient(api.transport())
            let plane = MeshControlPlane(client, domain: "cluster.local", loop: loop, log: Log.shared)
            try await serve(plane, on: group)
            try await MeshCluster.make(options, pods: options.proxies, with: client)
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask(executorPreference: loop) { await plane.run() }
                defer { tasks.cancelAll() }
                if !options.isJSON {
                    say("\(options.proxies) proxies, \(options.services) Services of \(options.endpoints) endpoints")
                }
                try await loop.sleep(for: .seconds(2))
                for (number, way) in ways.enumerated() {
                    note(way.name)
                    for row in try await measure(way.way, client, loop, salt: number) {
                        Row("\(way.name): \(row.name)", row.value, row.unit).show(isJSON: options.isJSON)
                    }
                }
            }
        }
    }

    private func cidr(_ text: String) throws -> CIDR {
        guard let range = CIDR(text) else { throw Failure("no range: \(text)") }
        return range
    }

    /// In plain text, and as on the mesh's own port.
    private func serve(_ plane: MeshControlPlane, on group: EventLoopGroup) async throws {
        let plain = HTTPServer(
            group: group, address: .unix(path: folder + "/plain.sock"), limits: DiscoveryServer.limits
        ) { _ in plane.server }
        _ = try await plain.start()
        let cluster = try CertificateAuthority.create(commonName: "weft-ca")
        let serving = try cluster.issue(
            CertificateTemplate(subject: DistinguishedName(commonName: "kube-apiserver"), purpose: .server))
        let authority = try LiveMeshAuthority(
            .own(directory: folder + "/pki"), trustDomain: "cluster.local",
            passphrase: MeshPassphrase(path: folder + "/passphrase"), loop: group.all[0], log: Log.shared)
        let service = MeshPortService(
            plane, authority, cluster: [cluster.certificate], lifetime: .seconds(86_400), metrics: MetricsRegistry(),
            log: Log.shared)
        let context = try TLSContext(
            serving: [serving], clientCertificates: .requested,
            trust: TrustPool([cluster.certificate] + authority.current.roots), protocols: ["h2"])
        let secure = HTTPServer(
            group: group, address: .unix(path: folder + "/secure.sock"), tls: context, limits: DiscoveryServer.limits
        ) { _ in service }
        _ = try await secure.start()
        try WorkloadFiles.write(authority.current, trusting: cluster.certificate, to: folder)
    }

    private func measure(
        _ way: ProxyFleet.Way, _ client: KubeClient, _ loop: EventLoop, salt: Int
    ) async throws -> [Row] {
        let proxies = Double(options.proxies)
        let empty = residentKilobytes()
        let (began, used) = (monotonic(), processSeconds())
        var fleet = try await ProxyFleet(way, count: options.proxies, services: options.services, on: loop)
        let (connecting, spent) = (monotonic() - began, processSeconds() - used)
        try await loop.sleep(for: .seconds(1))
        let idle = residentKilobytes()
        var (times, cpu) = ([Double](), [Double]())
        for round in 0..<options.rounds {
            let number = (7 + round) % options.services
            let changed = MeshCluster.slice(number, options.endpoints, last: 100 + 40 * salt + round)
            try await loop.sleep(for: .milliseconds(100))
            let (began, used) = (monotonic(), processSeconds())
            _ = try await client.update(.endpointSlices, changed)
            times.append((try await fleet.reached() - began) * 1e3)
            // With what the proxies answer.
            try await loop.sleep(for: .milliseconds(100))
            cpu.append((processSeconds() - used) * 1e3)
        }
        let worked = residentKilobytes()
        await fleet.end()
        // What is over is taken leave of.
        try await loop.sleep(for: .seconds(1))
        return [
            Row("one endpoint's change reaches all, median", times.quantile(0.5), "ms"),
            Row("the same, worst of \(options.rounds)", times.max() ?? .nan, "ms"),
            Row("control's CPU for it, with the API's write, median", cpu.quantile(0.5), "ms"),
            Row("control's memory a connected proxy, at rest", Double(idle - empty) / proxies, "KB"),
            Row("the same after \(options.rounds) changes", Double(worked - empty) / proxies, "KB"),
            Row("control's CPU to give a proxy the whole mesh", spent / proxies * 1e3, "ms"),
            Row("all have the whole mesh after", connecting, "s"),
        ]
    }
}
