import Bytes
import ClusterAPI
import ClusterClient
import HTTP
import Reactor
import Telemetry

/// The servers on `healthCheckNodePort`s, where load balancers ask whether a Service's packets are welcome on this node.
///
/// Everything here runs on its loop, which is not the one that writes rules: load balancers get their answers while a
/// whole cluster is written. Owners reach it through `submit` and `close`.
final class HealthCheckPorts: @unchecked Sendable {
    // `@unchecked`: confined to `loop`, which is the only one of `group`.

    private struct Entry {
        var port: Port
        var endpoints: LocalEndpoints
    }

    /// A server: one address's for one Service.
    private struct Place: Hashable {
        var service: ObjectKey
        var address: IPAddress
        var port: Port
    }

    private let group: EventLoopGroup
    private let loop: EventLoop
    private let client: KubeClient
    private let recorder: EventRecorder
    private let nodeName: String
    private let state: ProxyState
    private let retryPeriod: Duration
    private let log: Log
    private var entries: [ObjectKey: Entry] = [:]
    /// 0.0.0.0 alone for all.
    private var addresses: Set<IPAddress> = [.anyV4]
    private var servers: [Place: Task<Void, Never>] = [:]
    /// Servers that are about to give their ports back.
    private var closing: [SocketAddress: Task<Void, Never>] = [:]

    init(
        _ group: EventLoopGroup, _ client: KubeClient, _ recorder: EventRecorder, state: ProxyState,
        configuration: ServiceProxyConfiguration, log: Log
    ) {
        self.group = group
        loop = group.next
        self.client = client
        self.recorder = recorder
        self.state = state
        self.log = log
        nodeName = configuration.node.name
        retryPeriod = configuration.bindRetryPeriod
    }

    /// From any thread, in this order.
    func submit(_ change: @escaping @Sendable (HealthCheckPorts) -> Void) { loop.submit { change(self) } }

    /// A Service's port and what it answers; nil when it has none (any more). Call `settle` after a round of these.
    func set(_ service: ObjectKey, port: Port?, _ endpoints: LocalEndpoints) {
        entries[service] = port.map { Entry(port: $0, endpoints: endpoints) }
    }

    /// Services of a former session that this one does not know.
    func keepOnly(_ known: some Sequence<ObjectKey>) {
        let known = Set(known)
        entries = entries.filter { known.contains($0.key) }
    }

    /// Where node ports answer; nil for everywhere.
    func setAddresses(_ addresses: Set<IPAddress>?) { self.addresses = addresses ?? [.anyV4] }

    /// Opens and closes servers, so that they are those that are wanted.
    func settle() {
        var wanted: Set<Place> = []
        for (service, entry) in entries {
            for address in addresses { wanted.insert(Place(service: service, address: address, port: entry.port)) }
        }
        for (place, task) in servers where !wanted.contains(place) {
            task.cancel()
            servers[place] = nil
            closing[.ip(place.address, place.port)] = task
        }
        for place in wanted where servers[place] == nil { servers[place] = serve(place) }
    }

    func close() {
        entries = [:]
        settle()
    }

    private func serve(_ place: Place) -> Task<Void, Never> {
        let address = SocketAddress.ip(place.address, place.port)
        let former = closing.removeValue(forKey: address)
        let keeper = PortKeeper(
            group: group, address: address,
            handler: HTTPClosureHandler { [weak self] request, response in
                await self?.answer(place.service, over: request.peer.address?.unmapped.family ?? .v4, response)
            })
        let period = retryPeriod
        return loop.task { [weak self] in
            await former?.value
            var hasTold = false
            try? await keeper.serve(retrying: period) { error in
                if !hasTold { await self?.tell(place, error) }
                hasTold = true
            }
        }
    }

    private func answer(_ service: ObjectKey, over family: IPAddress.Family, _ response: HTTPResponseWriter) async {
        let isHealthy = state.health.withLock { $0.isHealthy(at: .now()) }
        let endpoints = entries[service]?.endpoints ?? LocalEndpoints()
        let answer = endpoints.answer(for: service, over: family, isProxyHealthy: isHealthy)
        await response.send(status: answer.status, headers: answer.headers, body: answer.body.encoded())
    }

    /// Once for each port: a cloud's load balancer takes this node for dead, and somebody should know why.
    private func tell(_ place: Place, _ error: any Error) async {
        let message =
            "node \(nodeName) failed to start healthcheck \"\(place.service)\" on port \(place.port): \(error)"
        log.error("health check port is not served", ["service": "\(place.service)", "error": "\(error)"])
        // With its uid, by which `kubectl describe` finds the event.
        let known = try? await client.find(.services, place.service)
        let service =
            known
            ?? KubeObject(
                apiVersion: "v1", kind: "Service", namespace: place.service.namespace, name: place.service.name)
        recorder.warning(service, "FailedToStartServiceHealthcheck", message)
    }
}
