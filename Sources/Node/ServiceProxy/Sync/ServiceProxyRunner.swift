public import ClusterClient
public import Telemetry

import Bytes
import ClusterAPI
import HTTP
import JSON
import Reactor

/// The service proxy in its surroundings: follows Services and EndpointSlices of an API server, writes on a loop of its
/// own, and serves health and metrics.
public struct ServiceProxyRunner: Sendable {
    private let configuration: ServiceProxyConfiguration
    private let client: KubeClient
    private let namespace: CInt?
    private let registry: MetricsRegistry
    private let log: Log

    /// - Parameters:
    ///   - namespace: a descriptor of the node's network namespace, borrowed; nil is the process' own.
    ///   - registry: where the metrics go; nil keeps them for `metricsAddress` alone.
    public init(
        _ configuration: ServiceProxyConfiguration, client: KubeClient, namespace: CInt? = nil,
        registry: MetricsRegistry? = nil, log: Log = .shared
    ) {
        self.configuration = configuration
        self.client = client
        self.namespace = namespace
        self.registry = registry ?? MetricsRegistry()
        self.log = log
    }

    /// Runs until cancelled. The tables stay as they are then. Throws when they cannot be made at all.
    public func run() async throws {
        var configuration = configuration
        configuration.node.zone = await zone()
        let node = configuration.node
        let group = try EventLoopGroup(count: 1, name: "services")
        let loop = group.next
        let metrics = ServiceProxyMetrics(registry)
        let (settled, namespace, log) = (configuration, namespace, log)
        let sync = try await loop.perform {
            try SyncLoop(
                ServiceProxy(settled, namespace: namespace), on: loop, namespace: namespace, metrics: metrics, log: log)
        }
        await serve(settled, sync, metrics, on: group)

        let services = Informer<ServiceEntry>(
            client, .services, selection: Selection(labels: "!\(ServiceSpec.otherProxyLabel)"), log: log)
        let slices = Informer<EndpointSliceEntry>(
            client, .endpointSlices, selection: Selection(labels: "!\(EndpointSliceSpec.headlessLabel)"), log: log)
        services.onEvent { event in
            loop.submit {
                switch event {
                case .added(let key, let entry), .updated(let key, _, let entry): sync.set(entry.spec, key)
                case .deleted(let key, _): sync.set(ServiceSpec?.none, key)
                case .synced: sync.synced(.services)
                }
            }
        }
        slices.onEvent { event in
            loop.submit {
                switch event {
                case .added(let key, let entry), .updated(let key, _, let entry): sync.set(entry.spec, key)
                case .deleted(let key, _): sync.set(EndpointSliceSpec?.none, key)
                case .synced: sync.synced(.slices)
                }
            }
        }
        await withTaskGroup(of: Void.self) { tasks in
            tasks.addTask { await services.run() }
            tasks.addTask { await EndpointSliceEntry.$node.withValue(node) { await slices.run() } }
            tasks.addTask {
                while (try? await loop.sleep(for: settled.auditPeriod)) != nil { loop.submit { sync.audit() } }
            }
            await tasks.waitForAll()
        }
        try? await loop.perform { sync.close() }
        await group.shutdown()
    }

    /// The zone of our Node, for hints; nil when it has none, or nobody says within a few tries.
    private func zone() async -> String? {
        guard configuration.node.zone == nil else { return configuration.node.zone }
        let key = ObjectKey(name: configuration.node.name)
        let object = try? await client.find(.nodes, key)
        return object?.label("topology.kubernetes.io/zone")
    }

    // MARK: Health and metrics

    private func serve(
        _ configuration: ServiceProxyConfiguration, _ sync: SyncLoop, _ metrics: ServiceProxyMetrics,
        on group: EventLoopGroup
    ) async {
        let health = ServiceProxyHealth(loop: group.next, sync: sync, metrics: metrics)
        let registry = registry
        await start(configuration.healthzAddress, "health", group) { request, response in
            switch request.path {
            case "/healthz": await health.answer(response, counting: metrics.healthz)
            case "/livez": await health.answer(response, counting: metrics.livez)
            default: await response.send(status: 404, text: "not found\n")
            }
        }
        await start(configuration.metricsAddress, "metrics", group) { request, response in
            switch request.path {
            case "/metrics":
                await response.send(
                    status: 200, headers: ["content-type": MetricsRegistry.contentType], body: registry.render())
            case "/healthz": await response.send(status: 200, text: "ok")
            case "/proxyMode": await response.send(status: 200, text: "nftables")
            default: await response.send(status: 404, text: "not found\n")
            }
        }
    }

    /// A port that is taken is told and lived without, as kube-proxy does by default.
    private func start(
        _ address: SocketAddress?, _ what: String, _ group: EventLoopGroup,
        _ answer: @escaping @Sendable (HTTPRequest, HTTPResponseWriter) async -> Void
    ) async {
        guard let address else { return }
        do {
            _ = try await HTTPServer(group: group, address: address, handler: HTTPClosureHandler(answer)).start()
        } catch {
            log.error("service proxy does not serve \(what)", ["address": "\(address)", "error": "\(error)"])
        }
    }
}

/// Whether what the cluster wants is what the kernel does: kube-proxy's `/healthz` and `/livez`.
private struct ServiceProxyHealth: Sendable {
    /// A change that waits longer to be written makes us unhealthy.
    static let patience: Int64 = 60

    let loop: EventLoop
    let sync: SyncLoop
    let metrics: ServiceProxyMetrics

    func answer(_ response: HTTPResponseWriter, counting: MetricFamily<Counter>) async {
        let sync = sync
        let state = try? await loop.perform { (sync.lastSuccess, sync.waitingSince) }
        let now = Timestamp.now()
        let isHealthy =
            if let (last, waiting) = state {
                waiting.map { now.seconds - $0.seconds <= Self.patience } ?? (last != nil)
            } else {
                false
            }
        let code = isHealthy ? 200 : 503
        counting["\(code)"].increment()
        let body: JSONValue = [
            "lastUpdated": .string((state?.0 ?? Timestamp(seconds: 0, nanoseconds: 0)).rfc3339Nano),
            "currentTime": .string(now.rfc3339Nano), "nodeEligible": true, "healthy": .bool(isHealthy),
        ]
        await response.send(
            status: code, headers: ["content-type": "application/json", "x-content-type-options": "nosniff"],
            body: body.encoded())
    }
}

/// A Service as the informer keeps it; nil inside for those that are not ours.
struct ServiceEntry: APIDecodable {
    var spec: ServiceSpec?

    init(_ object: KubeObject) { spec = ServiceSpec(object) }
}

/// An EndpointSlice as the informer keeps it; nil inside for those that are not ours.
struct EndpointSliceEntry: APIDecodable {
    /// Whose view it is. The informer decodes in the task that runs it, and knows nothing of nodes.
    @TaskLocal static var node = NodeIdentity(name: "")

    var spec: EndpointSliceSpec?

    init(_ object: KubeObject) { spec = EndpointSliceSpec(object, on: Self.node) }
}
