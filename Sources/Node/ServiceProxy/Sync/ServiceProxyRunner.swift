public import ClusterClient
public import Telemetry

import Bytes
import ClusterAPI
import HTTP
import Reactor

/// The service proxy in its surroundings: follows its Node, Services and EndpointSlices of an API server, writes on a loop of
/// its own, and serves health and metrics.
public struct ServiceProxyRunner: Sendable {
    private let configuration: ServiceProxyConfiguration
    private let client: KubeClient
    private let namespace: CInt?
    private let registry: MetricsRegistry
    private let log: Log

    /// How long the start waits to be told of its own Node, for its zone and addresses.
    static let nodePatience: Duration = .seconds(10)

    /// - Parameters:
    ///   - namespace: a descriptor of the node's network namespace, borrowed; nil is the process' own. Ports are always the
    ///     process' own.
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

    /// Runs until cancelled. The tables stay as they are then. Throws when they cannot be made at all, and for a port that
    /// cannot be had if the configuration wants that.
    public func run() async throws {
        let group = try EventLoopGroup(count: 1, name: "services")
        let loop = group.next
        // Who asks for health must not wait for a kernel that takes its time.
        let pages = try EventLoopGroup(count: 1, name: "health")
        let state = ProxyState(patience: configuration.patience)
        let metrics = ServiceProxyMetrics(registry)
        let recorder = EventRecorder(
            client, component: "kube-proxy", host: configuration.node.name, loop: loop, log: log)
        let watch = OwnNodeWatch(client, name: configuration.node.name, log: log)
        let ports = HealthCheckPorts(pages, client, recorder, state: state, configuration: configuration, log: log)
        recorder.normal(ownNode, "Starting", "")

        let outcome: Result<Void, any Error>
        do {
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await servePages(pages, state, metrics, recorder) }
                tasks.addTask { await watch.run() }
                tasks.addTask {
                    guard (try? await loop.sleep(for: Self.nodePatience)) != nil, watch.stopWaiting() else { return }
                    log.warning("the Node object is not told of; zone and addresses are unknown until it is")
                }
                tasks.addTask { try await runSessions(watch, on: loop, state, metrics, ports) }
                // Whoever ends with an error ends the others.
                while let () = try await tasks.next() {}
            }
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        try? await pages.next.perform { ports.close() }
        await pages.shutdown()
        await group.shutdown()
        try outcome.get()
    }

    private var ownNode: KubeObject {
        var node = KubeObject(apiVersion: "v1", kind: "Node", name: configuration.node.name)
        // As kubelets do: `kubectl describe node` looks for its name as the uid, too.
        node.json["metadata"]?["uid"] = .string(configuration.node.name)
        return node
    }

    // MARK: Following the cluster

    /// One session after the other: what a session was made for (zone, pod prefixes) changed, so the next one adopts the
    /// tables and reads everything with other eyes. Packets notice nothing.
    private func runSessions(
        _ watch: OwnNodeWatch, on loop: EventLoop, _ state: ProxyState, _ metrics: ServiceProxyMetrics,
        _ ports: HealthCheckPorts
    ) async throws {
        while !Task.isCancelled {
            let configuration = configuration
            if case .nodePrefixes = configuration.localDetector, watch.node?.podPrefixes.isEmpty != false {
                log.info("waiting for spec.podCIDRs of the Node", ["node": configuration.node.name])
            }
            let wanted = await watch.first { node -> ServiceProxyConfiguration? in
                if case .nodePrefixes = configuration.localDetector, node?.podPrefixes.isEmpty != false { return nil }
                return configuration.resolved(by: node)
            }
            guard let wanted else { return }
            try await runSession(wanted, watch, on: loop, state, metrics, ports)
        }
    }

    /// Returns when the Node has changed so that another session must follow, or when cancelled.
    private func runSession(
        _ configuration: ServiceProxyConfiguration, _ watch: OwnNodeWatch, on loop: EventLoop, _ state: ProxyState,
        _ metrics: ServiceProxyMetrics, _ ports: HealthCheckPorts
    ) async throws {
        let (namespace, log) = (namespace, log)
        let primary = primaryAddresses(watch.node)
        let sync = try await loop.perform {
            try SyncLoop(
                ServiceProxy(configuration, namespace: namespace), on: loop, primary: primary, namespace: namespace,
                state: state, healthPorts: ports, metrics: metrics, log: log)
        }
        let services = followServices(sync, on: loop)
        let slices = followSlices(sync, on: loop)
        let ranges = followServiceCIDRs(sync, on: loop)
        await withTaskGroup(of: Void.self) { tasks in
            tasks.addTask { await services.run() }
            tasks.addTask {
                if await hasServiceCIDRs(loop) {
                    await ranges.run()
                } else {
                    loop.submit { sync.synced(.serviceCIDRs) }
                }
                // A session ends with its Node, not with this.
                while (try? await loop.sleep(for: .seconds(3600))) != nil {}
            }
            tasks.addTask { await EndpointSliceEntry.$node.withValue(configuration.node) { await slices.run() } }
            tasks.addTask {
                while (try? await loop.sleep(for: configuration.auditPeriod)) != nil { loop.submit { sync.audit() } }
            }
            tasks.addTask { await followNode(watch, sync, on: loop, configuration, state) }
            await tasks.next()
            tasks.cancelAll()
        }
        try? await loop.perform { sync.close() }
    }

    /// Takes over what can be taken over in a session; returns for what cannot.
    private func followNode(
        _ watch: OwnNodeWatch, _ sync: SyncLoop, on loop: EventLoop, _ current: ServiceProxyConfiguration,
        _ state: ProxyState
    ) async {
        let configuration = configuration
        let log = log
        _ = await watch.first { node -> Bool? in
            let isEligible = watch.isEligible
            state.health.withLock { $0.isNodeEligible = isEligible }
            let primary = primaryAddresses(node)
            loop.submit { sync.setPrimary(primary) }
            // A Node that is gone takes nothing with it; the next one will say what it is.
            guard let node else { return nil }
            var wanted = configuration.resolved(by: node)
            if case .prefixes(let prefixes) = wanted.localDetector, prefixes.isEmpty {
                wanted.localDetector = current.localDetector
            }
            guard wanted != current else { return nil }
            log.info(
                "the Node changed, services are read anew",
                ["zone": wanted.node.zone ?? "none", "podCIDRs": "\(node.podPrefixes)"])
            return true
        }
    }

    private func primaryAddresses(_ node: OwnNode?) -> [IPAddress] {
        OwnNode.primaryAddresses(
            node, override: configuration.nodeAddressOverride, fallback: configuration.nodeAddress)
    }

    private func followServices(_ sync: SyncLoop, on loop: EventLoop) -> Informer<ServiceEntry> {
        let services = Informer<ServiceEntry>(
            client, .services, selection: Selection(labels: "!\(ServiceSpec.otherProxyLabel)"), log: log)
        let allowsExternalIPs = configuration.allowsExternalIPs
        services.onEvent { event in
            loop.submit {
                switch event {
                case .added(let key, let entry), .updated(let key, _, let entry):
                    sync.set(allowsExternalIPs ? entry.spec : entry.withoutExternalIPs, key)
                case .deleted(let key, _): sync.set(Shared<ServiceSpec>?.none, key)
                case .synced: sync.synced(.services)
                }
            }
        }
        return services
    }

    private func followSlices(_ sync: SyncLoop, on loop: EventLoop) -> Informer<EndpointSliceEntry> {
        let slices = Informer<EndpointSliceEntry>(
            client, .endpointSlices, selection: Selection(labels: "!\(EndpointSliceSpec.headlessLabel)"), log: log)
        slices.onEvent { event in
            loop.submit {
                switch event {
                case .added(let key, let entry): sync.set(entry.spec, key, trigger: entry.trigger)
                case .updated(let key, let old, let entry):
                    sync.set(entry.spec, key, trigger: old.trigger == entry.trigger ? nil : entry.trigger)
                case .deleted(let key, _): sync.set(Shared<EndpointSliceSpec>?.none, key)
                case .synced: sync.synced(.slices)
                }
            }
        }
        return slices
    }

    /// Servers before 1.33 have none, and may not let us see them.
    private func hasServiceCIDRs(_ loop: EventLoop) async -> Bool {
        var backoff = Backoff.reconnect
        while !Task.isCancelled {
            do {
                _ = try await client.list(.serviceCIDRs)
                return true
            } catch let error as StatusError where [403, 404].contains(error.code) {
                log.info("addresses that no Service has are not dropped", ["reason": "\(error)"])
                return false
            } catch {
                try? await loop.sleep(for: backoff.next())
            }
        }
        return false
    }

    private func followServiceCIDRs(_ sync: SyncLoop, on loop: EventLoop) -> Informer<ServiceCIDREntry> {
        let ranges = Informer<ServiceCIDREntry>(client, .serviceCIDRs, log: log)
        ranges.onEvent { [weak ranges] _ in
            guard let ranges, ranges.hasSynced else { return }
            let prefixes = Set(ranges.list().flatMap(\.prefixes))
            loop.submit {
                sync.setServiceCIDRs(prefixes)
                sync.synced(.serviceCIDRs)
            }
        }
        return ranges
    }

    // MARK: Health and metrics

    private func servePages(
        _ group: EventLoopGroup, _ state: ProxyState, _ metrics: ServiceProxyMetrics, _ recorder: EventRecorder
    ) async throws {
        let pages = MetricsPages(
            configuration: configuration.configz, registry: registry, slis: HealthIndicators.registry())
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask {
                try await keep(
                    configuration.healthzAddress, HealthPages(state: state, metrics: metrics), on: group,
                    "FailedToStartProxierHealthcheck", recorder)
            }
            tasks.addTask {
                try await keep(configuration.metricsAddress, pages, on: group, "FailedToStartMetricServer", recorder)
            }
            while let () = try await tasks.next() {}
        }
    }

    private func keep(
        _ address: SocketAddress?, _ handler: any HTTPHandler, on group: EventLoopGroup, _ reason: String,
        _ recorder: EventRecorder
    ) async throws {
        guard let address else { return }
        var hasTold = false
        try await PortKeeper(group: group, address: address, handler: handler).serve(
            retrying: configuration.bindRetryPeriod
        ) { error in
            if !hasTold {
                log.error("service proxy does not serve", ["address": "\(address)", "error": "\(error)"])
                if configuration.bindFailureIsFatal { recorder.warning(ownNode, reason, "\(error)") }
            }
            hasTold = true
            guard configuration.bindFailureIsFatal else { return }
            // What waits to be told needs a moment.
            try? await group.next.sleep(for: .milliseconds(200))
            throw error
        }
    }
}

/// A Service as the informer keeps it; nil inside for those that are not ours.
struct ServiceEntry: APIDecodable {
    let spec: Shared<ServiceSpec>?

    init(_ object: KubeObject) { spec = ServiceSpec(object).map(Shared.init) }

    var withoutExternalIPs: Shared<ServiceSpec>? {
        guard let spec, !spec.value.externalIPs.isEmpty else { return spec }
        var value = spec.value
        value.externalIPs = []
        return Shared(value)
    }
}

/// An EndpointSlice as the informer keeps it; nil inside for those that are not ours.
struct EndpointSliceEntry: APIDecodable {
    /// Whose view it is. The informer decodes in the task that runs it, and knows nothing of nodes.
    @TaskLocal static var node = NodeIdentity(name: "")

    /// Written by the controller that makes slices: when the pod or Service changed because of which it wrote this one.
    static let triggerAnnotation = "endpoints.kubernetes.io/last-change-trigger-time"

    let spec: Shared<EndpointSliceSpec>?
    let trigger: Timestamp?

    init(_ object: KubeObject) {
        spec = EndpointSliceSpec(object, on: Self.node).map(Shared.init)
        trigger = object.annotation(Self.triggerAnnotation).flatMap { Timestamp(rfc3339: $0) }
    }
}

/// A ServiceCIDR as the informer keeps it.
struct ServiceCIDREntry: APIDecodable {
    var prefixes: [CIDR]

    init(_ object: KubeObject) {
        prefixes = (object.spec["cidrs"]?.array ?? []).compactMap { $0.string.flatMap { CIDR($0) } }
    }
}
