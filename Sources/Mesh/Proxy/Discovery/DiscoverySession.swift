import Bytes
import GRPC
import Reactor
import XDS

/// The conversation with one control plane: a `DiscoveryClient` with a stream, a clock and those who use what comes. On the
/// directory's loop; the stream is on a worker's.
///
/// One response after the other: the next is taken from the stream when all of the last is in use, or refused.
final class DiscoverySession: @unchecked Sendable {
    // `@unchecked`: confined to the directory's loop; the stream's events and what is applied elsewhere come back by `submit`.

    /// Those who use what is not the directory's own. Not on the session's loop.
    struct Users: Sendable {
        /// Takes over what changes, and says what is refused.
        var apply: @Sendable (ResourceUpdate, ConfigSource.Origin) async -> [ResourceRefusal]
        /// Nothing is to be had under these names, for now.
        var giveUp: @Sendable (ResourceKind, [String], ConfigSource.Origin, _ tooLate: Bool) async -> Void
    }

    /// What configuration calls it.
    private let origin: ConfigSource.Origin
    private let server: DiscoveryServer
    private let path: String
    private let directory: ClusterDirectory
    private let worker: ProxyWorker
    private let users: Users
    private(set) var client: DiscoveryClient
    private let endpoints = EndpointSubscriptions()
    /// Of the session for all kinds, where there is one.
    private let stateFile: StateFile?
    /// A response has come.
    private var hasHeard = false
    /// One has come on the present stream.
    private var streamHasSpoken = false
    private var hasRecalled = false
    private var patience = TimerHandle.none
    /// Nanoseconds without a word at the start after which the proxy goes on from what it was told in an earlier run.
    private static let patienceTime = Duration.seconds(2)
    private var stream: StreamReference?
    private var streams = 0
    /// A stream is due, and its cluster is not there yet.
    private var isWaitingForCluster = false
    private var timer = TimerHandle.none
    private var isFlushing = false
    private var isClosed = false
    private var waiting: [ResourceKind: [() -> Void]] = [:]
    /// What is to be applied, in order; the first is being.
    private var toApply: [(update: ResourceUpdate, done: ([ResourceRefusal]) -> Void)] = []

    init(
        _ origin: ConfigSource.Origin, _ server: DiscoveryServer, path: String, node: Message,
        _ directory: ClusterDirectory, _ worker: ProxyWorker, _ users: Users, _ stateFile: StateFile? = nil
    ) {
        self.stateFile = stateFile
        self.origin = origin
        self.server = server
        self.path = path
        self.directory = directory
        self.worker = worker
        self.users = users
        client = DiscoveryClient(server.form, node: node, namesItselfOnce: server.namesNodeOnce)
    }

    private var loop: EventLoop { directory.loop }
    private var now: UInt64 { loop.now.nanoseconds }

    func start() {
        flushLater()
        guard let stateFile else { return }
        stateFile.state = { [unowned self] in client.memory }
        patience = loop.schedule(after: Self.patienceTime) { [weak self] in self?.recall() }
    }

    func close() {
        isClosed = true
        loop.cancel(timer)
        loop.cancel(patience)
        stateFile?.close()
        cancelStream()
        settleWaiting()
    }

    // MARK: Interest

    /// All of a kind; `known` is called when something was said of it, or it has been waited for long enough.
    func subscribeToAll(_ kind: ResourceKind, fetchTime: UInt64, known: @escaping () -> Void) {
        waiting[kind, default: []].append(known)
        client.subscribeToAll(kind, fetchTime: fetchTime, now: now)
        if hasRecalled { tellRecalled(kind) }
        flushLater()
    }

    /// A cluster's endpoints. `assign` may be called at once; see `EndpointSubscriptions`.
    func subscribe(
        _ name: String, _ cluster: LiveCluster, fetchTime: UInt64, _ assign: @escaping EndpointSubscriptions.Assign
    ) {
        let held = client.subscribe(.clusterLoadAssignment, name, fetchTime: fetchTime, now: now)
        if let held { endpoints.recall(held) }
        endpoints.add(name, cluster, assign)
        // Others have waited in vain before.
        if held == nil, client.isGivenUp(.clusterLoadAssignment, name) { assign(nil) }
        flushLater()
    }

    func unsubscribe(_ name: String, _ cluster: LiveCluster) {
        guard endpoints.remove(name, cluster) else { return }
        client.unsubscribe(.clusterLoadAssignment, name)
        endpoints.forget(name)
        flushLater()
    }

    /// What is used elsewhere, by its name: a route configuration, a filter.
    func subscribe(to kind: ResourceKind, _ name: String, fetchTime: UInt64) {
        if let held = client.subscribe(kind, name, fetchTime: fetchTime, now: now) {
            var update = ResourceUpdate(kind: kind)
            update.added = [held]
            enqueue(update) { _ in }
        }
        flushLater()
    }

    /// A cluster by its name, beside whatever else is asked for.
    func subscribeToCluster(_ name: String, fetchTime: UInt64) {
        let held = client.subscribe(.cluster, name, fetchTime: fetchTime, now: now)
        if let held, ClusterID(known: name).map(directory.knows) != true {
            // From an earlier run.
            var update = ResourceUpdate(kind: .cluster)
            update.added = [held]
            enqueue(update) { [self] in client.disown(.cluster, $0.map(\.name)) }
        }
        flushLater()
    }

    /// A listener by its name, beside all others.
    func subscribeToListener(_ name: String) {
        if let held = client.subscribe(.listener, name, fetchTime: 0, now: now) {
            // It was just given up, or is from an earlier run.
            var update = ResourceUpdate(kind: .listener)
            update.added = [held]
            enqueue(update) { [self] in
                let refused = $0.map(\.name)
                client.disown(.listener, refused)
                directory.onDemandListeners.giveUp(refused)
            }
        }
        flushLater()
    }

    /// There is a stream on which something was said: whoever is between may hold a connection whose other end is away.
    var isConnected: Bool { client.isOpen && streamHasSpoken }

    /// A secret by its name, which is then looked for in what the client holds.
    func subscribeToSecret(_ name: String, fetchTime: UInt64) {
        _ = client.subscribe(.secret, name, fetchTime: fetchTime, now: now)
        flushLater()
    }

    func unsubscribe(_ kind: ResourceKind, _ name: String) {
        client.unsubscribe(kind, name)
        stateFile?.changed()
        flushLater()
    }

    /// What is asked for in one go goes into one request.
    private func flushLater() {
        guard !isFlushing, !isClosed else { return }
        isFlushing = true
        loop.submit { [self] in
            isFlushing = false
            flush()
        }
    }

    private func flush() {
        guard !isClosed else { return }
        while let request = client.nextRequest() {
            if let stream {
                worker.loop.submit { [worker] in
                    stream.value?.send(request)
                    worker.flush()
                }
            }
        }
        arm()
    }

    // MARK: Time

    private func arm() {
        loop.cancel(timer)
        let deadline = client.deadline
        guard deadline != .max, !isClosed else { return }
        let wait = deadline > now ? deadline - now : 0
        timer = loop.schedule(after: .nanoseconds(Int64(clamping: wait))) { [weak self] in self?.tick() }
    }

    private func tick() {
        for occurrence in client.advance(to: max(now, MonotonicTime.now().nanoseconds)) {
            switch occurrence {
            case .connect: connect()
            case .expired(let update):
                ProxyLog.info(.config, "\(update.kind.service): expired: \(update.removed.joined(separator: ", "))")
                switch update.kind {
                case .clusterLoadAssignment: endpoints.expire(update.removed)
                // What was made of them goes on.
                case .secret: break
                default: enqueue(update) { _ in }
                }
            case .timedOut(let kind, let names):
                ProxyLog.warning(.config, "\(kind.service): initial fetch timed out: \(names.joined(separator: ", "))")
                giveUp(kind, names, tooLate: true)
            case .timedOutAll(let kind):
                ProxyLog.warning(.config, "\(kind.service): initial fetch timed out")
                told(kind)
            }
        }
        flush()
    }

    // MARK: The stream

    func clusterCame(_ id: ClusterID) {
        guard isWaitingForCluster, ClusterID(server.cluster) == id else { return }
        isWaitingForCluster = false
        // After the workers have it.
        loop.submit { [self] in connect() }
    }

    // MARK: An earlier run

    /// The control plane is silent from the start: the proxy goes on from what an earlier run of it was told, until there is word.
    private func recall() {
        guard let stateFile, !hasHeard, !hasRecalled, !isClosed else { return }
        hasRecalled = true
        guard let memory = stateFile.read() else { return }
        ProxyLog.warning(.config, "\(server.cluster) is silent: going on from what it said to an earlier run")
        if client.isOpen {
            // Its server was told that nothing is in hand.
            cancelStream()
            client.closed(now: now, &directory.random)
        }
        client.recall(memory)
        directory.onDemandListeners.remembered = memory.named(.listener)
        for kind in Array(waiting.keys) { tellRecalled(kind) }
        arm()
    }

    /// Those who want all of a kind have what is known of it.
    private func tellRecalled(_ kind: ResourceKind) {
        var update = ResourceUpdate(kind: kind)
        update.added = client.recalledOfAll(kind)
        guard !update.added.isEmpty else { return }
        enqueue(update) { [self] refused in
            for refusal in refused { directory.problems.report(refusal.reason) }
            client.disown(kind, refused.map(\.name))
            told(kind)
        }
    }

    private func connect() {
        guard !isClosed else { return }
        let id = ClusterID(server.cluster)
        guard directory[id] != nil else {
            isWaitingForCluster = true
            return
        }
        streams += 1
        streamHasSpoken = false
        let number = streams
        let reference = StreamReference()
        stream = reference
        let target = GRPCStream.Target(
            cluster: id, authority: server.authority, path: path,
            metadata: server.metadata.map { ($0.name, $0.value) }, messageLimit: server.messageLimit)
        worker.loop.submit { [self, worker, loop] in
            do throws(GRPCEnding) {
                reference.value = try GRPCStream.open(worker, target) { event in
                    if case .ended = event { reference.value = nil }
                    loop.submit { self.take(event, of: number) }
                }
            } catch {
                loop.submit { [self] in take(.ended(error), of: number) }
            }
            worker.flush()
        }
    }

    private func cancelStream() {
        streams += 1
        guard let stream else { return }
        self.stream = nil
        worker.loop.submit {
            stream.value?.cancel()
            stream.value = nil
        }
    }

    private func take(_ event: GRPCStream.Event, of number: Int) {
        guard number == streams, !isClosed else { return }
        switch event {
        case .opened:
            client.opened()
            flush()
        case .message(let bytes): take(bytes)
        case .ended(let ending): ended("\(ending)")
        }
    }

    private func ended(_ why: String) {
        stream = nil
        let method = path.split(separator: "/").last ?? ""
        ProxyLog.warning(.config, "\(method) gRPC config stream to \(server.cluster) closed: \(why)")
        client.closed(now: now, &directory.random)
        directory.onDemandListeners.streamEnded(origin)
        recall()
        arm()
    }

    private func take(_ bytes: [UInt8]) {
        hasHeard = true
        streamHasSpoken = true
        let delivery: DiscoveryDelivery?
        do throws(ConfigError) {
            delivery = try client.received(bytes)
        } catch {
            cancelStream()
            return ended("what came is no response: \(error)")
        }
        guard let delivery else {
            ProxyLog.warning(.config, "\(server.cluster) sent resources of a kind that nobody asked for")
            return proceed()
        }
        switch delivery.kind {
        case .clusterLoadAssignment: settle(delivery, endpoints.apply(delivery.update))
        case .secret: settle(delivery, directory.secrets.check(delivery.update))
        default: enqueue(delivery.update) { [self] in settle(delivery, $0) }
        }
    }

    private func settle(_ delivery: DiscoveryDelivery, _ refused: [ResourceRefusal]) {
        guard !isClosed else { return }
        client.settle(delivery, refusing: refused, now: now, at: .now())
        if !delivery.update.isEmpty { stateFile?.changed() }
        ProxyLog.debug(
            .config,
            "\(delivery.kind.service): \(delivery.update.added.count) added, \(delivery.update.updated.count) updated, \(delivery.update.removed.count) removed, \(refused.count + delivery.refused.count) refused"
        )
        for refusal in delivery.refused + refused { directory.problems.report(refusal.reason) }
        if delivery.kind == .secret {
            var update = delivery.update
            let names = Set(refused.map(\.name))
            update.added.removeAll { names.contains($0.name) }
            update.updated.removeAll { names.contains($0.name) }
            directory.secrets.discovered(update, origin)
        }
        if delivery.kind == .listener { directory.onDemandListeners.gone(delivery.update.removed) }
        giveUp(delivery.kind, delivery.absent + (delivery.refused + refused).map(\.name))
        told(delivery.kind)
        proceed()
    }

    /// Nothing is to be had under these names, for now: who waits for them goes on without.
    private func giveUp(_ kind: ResourceKind, _ names: [String], tooLate: Bool = false) {
        guard !names.isEmpty else { return }
        switch kind {
        case .clusterLoadAssignment: endpoints.giveUp(names)
        case .secret: directory.secrets.giveUp(names, origin)
        case .cluster:
            directory.onDemand.giveUp(names, origin)
            directory.references.giveUp(names)
        case .listener: directory.onDemandListeners.giveUp(names)
        default: Task { [users, origin] in await users.giveUp(kind, names, origin, tooLate) }
        }
    }

    /// The stream may hand over the next response.
    private func proceed() {
        flush()
        guard let stream else { return }
        worker.loop.submit { stream.value?.next() }
    }

    private func told(_ kind: ResourceKind) {
        for body in waiting.removeValue(forKey: kind) ?? [] { body() }
    }

    private func settleWaiting() {
        let all = waiting
        waiting = [:]
        for body in all.values.joined() { body() }
    }

    /// What there is to tell of it.
    var facts: DiscoveryFacts {
        DiscoveryFacts(
            origin: origin, isConnected: client.isOpen, client: client, onDemand: directory.onDemandListeners.counters)
    }

    // MARK: What others use

    private func enqueue(_ update: ResourceUpdate, _ done: @escaping ([ResourceRefusal]) -> Void) {
        toApply.append((update, done))
        if toApply.count == 1 { applyFirst() }
    }

    private func applyFirst() {
        guard let update = toApply.first?.update else { return }
        Task { [self] in
            let refused = await users.apply(update, origin)
            loop.submit { [self] in
                toApply.removeFirst().done(refused)
                applyFirst()
            }
        }
    }
}

/// A stream as its session holds it: touched on the worker's loop only, which makes it safe to pass on.
private final class StreamReference: @unchecked Sendable {
    var value: GRPCStream?
}
