import Bytes
import Glibc
import Netlink
import Reactor
import Telemetry

/// A node's pod network: pods' links and addresses, the ways to other nodes' pods, and the CNI socket.
///
/// Knows no API objects: its owner tells it of nodes and publishes what it says of this one. May be called from any task. What
/// it does to the kernel takes about a millisecond at a time and happens on a loop of its own, one thing after the other.
public final class PodNetworkDaemon: @unchecked Sendable {
    // `state` and all it holds are touched on `loop` only; the rest is constant.
    public let configuration: PodNetworkConfiguration
    private let group: EventLoopGroup
    private let gate: (any PodGate)?
    private var state: State?

    private var loop: EventLoop { group.all[0] }

    /// Starts the loop, in the calling thread's network namespace; nothing else happens before `start`.
    ///
    /// - Parameter gate: has to let pods in before they can send; nil lets all in.
    public init(_ configuration: PodNetworkConfiguration, gate: (any PodGate)? = nil) throws {
        self.configuration = configuration
        self.gate = gate
        group = try EventLoopGroup(count: 1, name: "pod-network")
    }

    /// Reads what stands, makes the tunnel device and listens for the kernel's and the runtime's calls. Throws where the node's
    /// address is on no interface, or another process has the state directory.
    public func start() async throws {
        try await loop.perform { [self] in state = try State(configuration, gate, on: loop) }
    }

    /// Closes the sockets and ends the loop. Pods, routes and the tunnel stay: a successor finds and keeps them.
    public func stop() async {
        try? await loop.perform { [self] in
            state?.close()
            state = nil
        }
        await group.shutdown()
    }

    private func run<Value: Sendable>(_ body: @escaping @Sendable (State) throws -> Value) async throws -> Value {
        try await loop.perform { [self] in
            guard let state else { throw PodNetworkError.notReady("it is not started") }
            return try body(state)
        }
    }

    // MARK: Nodes

    /// All nodes of the cluster as they are now, this one among them: from it come this node's pod prefixes. Cheap to call again;
    /// only what changed costs.
    public func update(nodes: [NodeNetwork]) async throws {
        try await run { $0.setNodes(nodes) }
    }

    /// One node that is new or changed. Until `update(nodes:)` was called once, nothing that stands is removed.
    public func update(node: NodeNetwork) async throws {
        try await run { $0.set(node) }
    }

    public func remove(node name: String) async throws {
        try await run { $0.remove(node: name) }
    }

    /// What this node is to publish of itself, for its peers: annotations of its Node object.
    public func annotations() async throws -> [String: String] {
        try await run { $0.annotations }
    }

    // MARK: Pods

    /// Gives a pod its interface, addresses and ways; what it returns is in force. Called again for the same id, it makes the link
    /// anew with the same addresses.
    public func attach(_ request: AttachRequest) async throws -> PodAttachment {
        do { try await gate?.prepare(request) } catch { throw PodNetworkError.notReady("\(error)") }
        return try await run { try $0.attach(request) }
    }

    /// Takes it away. Nothing known of the id is no error.
    public func detach(_ id: AttachmentID) async throws {
        try await run { try $0.detach(id) }
    }

    /// Throws what is not as `attach` left it.
    public func check(_ id: AttachmentID) async throws {
        try await run { try $0.links.check(id) }
    }

    /// Takes away every attachment but these.
    public func collect(valid: Set<AttachmentID>) async throws {
        try await run { try $0.collect(valid: valid) }
    }

    /// The attachments that stand.
    public func attachments() async throws -> [PodAttachment] {
        try await run { $0.links.all.values.map(\.attachment) }
    }

    // MARK: Condition

    /// Nil when pods can be attached; else why not, for the node's Ready condition.
    public func unreadiness() async -> String? {
        do { return try await run { $0.unreadiness } } catch { return "\(error)" }
    }
}

extension PodNetworkDaemon {
    /// What the loop owns.
    fileprivate final class State: CNIPerformer {
        let configuration: PodNetworkConfiguration
        let links: PodLinks
        let paths: ClusterPaths
        let endpoint: TunnelEndpoint?
        private let loop: EventLoop
        private let monitor: RouteMonitor
        private var service: CNIService?
        private let masquerade: Masquerade
        private let gate: (any PodGate)?
        private var retry: TimerHandle = .none
        private var failures: [PathFailure] = []
        /// Seconds until what failed is tried again, doubled each time.
        private var backoff = State.firstBackoff
        private static let firstBackoff = 1
        private static let lastBackoff = 30
        /// Beyond it, repairs wait a second: another program that insists on the same routes must not cost a core.
        private static let repairsPerSecond = 50
        private var repairs = 0
        private var repairSecond: UInt64 = 0

        init(_ configuration: PodNetworkConfiguration, _ gate: (any PodGate)?, on loop: EventLoop) throws {
            self.configuration = configuration
            self.gate = gate
            self.loop = loop
            let connection = try RouteConnection()
            guard
                let underlay = try connection.addresses().first(where: { $0.address.address == configuration.address }),
                let link = try connection.links().first(where: { $0.index == underlay.device })
            else { throw PodNetworkError.noUnderlay(configuration.address) }
            try HostSettings.apply()
            HostSettings.applyToUnderlay(link.name)

            let family = configuration.address.family
            let mtu =
                configuration.mtu
                ?? PacketSize.ofPods(underlayMTU: link.mtu ?? 1500, backend: configuration.backend, underlay: family)
            var tunnel: TunnelDevice?
            if configuration.backend == .vxlan {
                let mac = TunnelDevice.hardwareAddress(for: configuration.address, vni: configuration.vni)
                tunnel = TunnelDevice(
                    vni: configuration.vni, port: configuration.port, local: configuration.address,
                    underlay: link.index, mtu: mtu, hardwareAddress: mac)
            }
            endpoint = tunnel.map {
                TunnelEndpoint(
                    vni: $0.vni, hardwareAddress: $0.hardwareAddress, publicAddress: configuration.address)
            }
            // The lock on the state directory first: a second daemon must not touch what the first one made.
            links = try PodLinks(directory: configuration.stateDirectory, quarantine: configuration.quarantine)
            links.mtu = mtu
            masquerade = try Masquerade(clusterPrefixes: configuration.clusterPrefixes, on: loop) { error in
                Log.shared.error("cannot restore masquerading", ["error": "\(error)"])
            }
            // Listening begins before the state is read, so that no change falls between.
            monitor = try RouteMonitor(on: loop)
            paths = try ClusterPaths(
                node: configuration.nodeName, backend: configuration.backend, underlay: link.index, tunnel: tunnel)
            try monitor.begin { [unowned self] in observe($0) }
            if let socket = configuration.socket {
                service = try CNIService(path: socket, on: loop) { [unowned self] in answer($0, then: $1) }
            }
        }

        func close() {
            service?.close()
            monitor.close()
            masquerade.close()
            loop.cancel(retry)
        }

        var annotations: [String: String] {
            FlannelAnnotations.write(
                backend: configuration.backend, address: configuration.address, tunnel: endpoint)
        }

        var unreadiness: String? {
            if links.prefixes.isEmpty { return "this node has no pod prefix yet (spec.podCIDR)" }
            // A peer that cannot be reached makes that peer's pods unreachable, not this node unready.
            return gate?.unreadiness
        }

        // MARK: Nodes

        func setNodes(_ nodes: [NodeNetwork]) {
            paths.setNodes(nodes)
            if let own = nodes.first(where: { $0.name == configuration.nodeName }) { setPrefixes(own) }
            apply()
        }

        func set(_ node: NodeNetwork) {
            paths.set(node)
            if node.name == configuration.nodeName { setPrefixes(node) }
            apply()
        }

        func remove(node name: String) {
            paths.remove(node: name)
            apply()
        }

        private func setPrefixes(_ own: NodeNetwork) {
            let before = links.prefixes
            links.setPrefixes(own.podCIDRs)
            guard links.prefixes != before else { return }
            reconcileLinks()
        }

        /// After a restart, and when a pod's link vanished.
        private func reconcileLinks() {
            let found = links.reconcile()
            for entry in found.lost {
                paths.remove(pod: entry.attachment.id)
                gate?.release(entry.attachment)
                Log.shared.info("pod is gone without DEL; its addresses rest", ["attachment": "\(entry.attachment.id)"])
            }
            for entry in found.relinked {
                Log.shared.warning("a pod's link was deleted; made anew", ["attachment": "\(entry.attachment.id)"])
            }
            for failure in found.failures { Log.shared.error("cannot restore a pod's link", ["error": "\(failure)"]) }
            for entry in links.all.values { announce(entry) }
        }

        private func announce(_ entry: PodLinks.Entry) {
            guard let device = entry.device else { return }
            paths.set(pod: entry.attachment.id, addresses: entry.attachment.addresses, device: device)
        }

        // MARK: Pods

        func attach(_ request: AttachRequest) throws -> PodAttachment {
            let entry = try links.attach(request)
            announce(entry)
            // The link's own batch has set the route; the notification that says so is on its way.
            paths.assume(pod: entry)
            // Nothing of the pod runs before this returns, so that nothing it sends goes unjudged.
            do { try gate?.admit(entry.attachment) } catch {
                try? detach(request.id)
                throw PodNetworkError.notReady("\(error)")
            }
            return entry.attachment
        }

        func detach(_ id: AttachmentID) throws {
            paths.remove(pod: id)
            let attachment = links.all[id]?.attachment
            try links.detach(id)
            if let attachment { gate?.release(attachment) }
            apply()
        }

        func collect(valid: Set<AttachmentID>) throws {
            let gone = links.all.filter { !valid.contains($0.key) }
            for id in gone.keys { paths.remove(pod: id) }
            defer { apply() }
            try links.collect(valid: valid)
            for entry in gone.values { gate?.release(entry.attachment) }
        }

        /// Answers a call at once, or, for a pod that the gate has to learn of first, when that is done.
        private func answer(_ call: CNICall, then reply: @escaping @Sendable (CNIReply) -> Void) {
            guard let gate, let configuration = try? CNIConfiguration(parsing: call.configuration),
                case .add(let request)? = try? CNIOperation(call, configuration)
            else { return reply(answer(call)) }
            // The task runs on the loop that owns this object, and the object lives until the loop ends.
            nonisolated(unsafe) let state = self
            loop.task {
                do {
                    try await gate.prepare(request)
                    reply(state.answer(call))
                } catch {
                    let refusal = CNIError(translating: PodNetworkError.notReady("\(error)"), command: call.command)
                    reply(CNIReply(refusal, version: configuration.version.rawValue))
                }
            }
        }

        func perform(_ operation: CNIOperation) throws -> CNIOutcome {
            switch operation {
            case .add(let request): return .added(try attach(request))
            case .delete(let id): try detach(id)
            case .collect(let valid): try collect(valid: valid)
            case .check, .version: return try links.perform(operation)
            case .status: if let why = unreadiness { throw PodNetworkError.notReady(why) }
            }
            return .done
        }

        // MARK: The kernel

        private func observe(_ notice: RouteMonitor.Notice) {
            switch notice {
            case .event(let event):
                paths.observe(event)
                if case .linkGone(let link) = event, links.owns(hostInterface: link.name) { reconcileLinks() }
            case .lost: paths.markStale()
            case .settled: if !paths.isInStep { repair() }
            }
        }

        /// Puts back what others took away: at once, unless somebody does nothing else all day.
        private func repair() {
            let second = loop.now.nanoseconds / 1_000_000_000
            if repairSecond != second { (repairSecond, repairs) = (second, 0) }
            repairs += 1
            if repairs <= Self.repairsPerSecond { return apply() }
            loop.cancel(retry)
            retry = loop.schedule(after: .seconds(1)) { [weak self] in self?.apply() }
        }

        private func apply() {
            let before = failures
            failures = paths.apply()
            for failure in failures where !before.contains(failure) {
                Log.shared.error("cannot set up a path", ["what": failure.subject, "why": failure.reason])
            }
            loop.cancel(retry)
            guard !failures.isEmpty else {
                backoff = Self.firstBackoff
                return
            }
            retry = loop.schedule(after: .seconds(backoff)) { [weak self] in self?.apply() }
            backoff = min(backoff * 2, Self.lastBackoff)
        }
    }
}
