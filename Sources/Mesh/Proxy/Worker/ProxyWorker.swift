import Bytes
import HTTP
import Reactor
import Synchronization
import TLS

/// One thread of the proxy: its loop, its connections, its pools, and the snapshots it works by. Nothing of it is shared; other
/// threads reach it by `loop.submit`.
package final class ProxyWorker: @unchecked Sendable {
    // `@unchecked`: confined to `loop`; its owner reaches it through `loop.submit` and `loop.perform` only.
    package let loop: EventLoop
    package let index: Int
    private var snapshots: [ClusterSnapshot?] = []
    /// Those that were needed so far.
    private(set) var clusters: [ClusterState?] = []
    /// Counters by name of cluster, which stay when the cluster is changed.
    private(set) var clusterStats: [ClusterID: ClusterStats] = [:]
    /// Route configurations that come by name, each at its place.
    private var tables: [RouteTable?] = []
    /// Connection managers some of whose filters come by name, with these as they are now, each at its place.
    private var managers: [ConnectionManager?] = []
    private(set) var managerStats: [UnsafeMutablePointer<ManagerStats>] = []
    private(set) var tcpStats: [UnsafeMutablePointer<TCPStats>] = []
    private var statRow = StatRow()
    /// `/healthcheck/fail` was asked for: the health-check filter says so to who asks.
    package var failsHealthChecks = false
    private var counters = CounterValues()
    /// The last requests, for `/explain`.
    var requests: RequestMemory
    /// Who looks on at requests.
    var watch = RequestWatch()
    package var drain = DrainSettings()
    /// What is held back of for want of memory.
    var overload = OverloadLevels.none {
        didSet {
            guard overload.stopsAccepting != oldValue.stopsAccepting else { return }
            for listener in listeners.values { listener.overloadChanged() }
        }
    }
    /// By address, for connections that one listener hands to another.
    private var listeners: [SocketAddress: ProxyListener] = [:]
    /// Where clusters are found that nobody has named before; set before the loop knows the worker.
    weak var directory: ClusterDirectory?
    var demands = ClusterDemands()
    var unknown = UnknownDestinations()
    var random: SplitMix64

    // Scratch, and what is used again.
    private var heads: [MessageHead] = []
    private var streams: [HTTPStream] = []
    private var attempts: [UpstreamAttempt] = []
    private var timers: [ConnectionTimer] = []
    private var finishedStreams: [HTTPStream] = []
    private var finishedAttempts: [UpstreamAttempt] = []
    private var dirty: [ConnectionTerminal] = []
    private var buffers: [GrowingBytes] = []
    private var date = DateHeader()
    private var isFlushing = false
    /// Nothing is kept for use again: what lives on the loop must go on the loop.
    private var isClosed = false
    /// Terminals that send at the end of the loop's turn, when all streams of the turn have had their say.
    private var late: [ConnectionTerminal] = []
    private let turnEnd = TurnEnd()
    private var kept: [AnyObject] = []
    private var logScratch = GrowingBytes()
    /// The client's side of the proxy's own requests.
    private(set) lazy var callCodec = CallCodec(self)
    private var finishedCalls: [Call] = []
    package var namedCounters = NamedCounters()
    /// By where they send.
    private var exporters: [ObjectIdentifier: SpanExporter] = [:]
    private var shippers: [ObjectIdentifier: LogShipper] = [:]
    var fetchedKeys = ConfigurationCache<RemoteKeySet, FetchedKeys>()
    /// Scratch for a header block on its way to HPACK.
    var fields = HTTP2Fields()

    let downstreamStreamOptions: StreamOptions
    let upstreamStreamOptions: StreamOptions

    /// Streams, attempts and buffers that wait for use again, of each at most.
    static let keptObjects = 1024
    private static let connectionIDs = Atomic<UInt64>(0)
    private var streamIDs: UInt64

    package init(_ loop: EventLoop, index: Int, bufferLimit: Int = 1 << 20, explains: Int = RequestMemory.standardSize)
    {
        self.loop = loop
        self.index = index
        requests = RequestMemory(size: explains)
        random = SplitMix64(seed: MonotonicTime.now().nanoseconds ^ UInt64(index) << 56)
        streamIDs = UInt64(index) << 48
        var options = StreamOptions()
        options.highWaterMark = bufferLimit
        options.lowWaterMark = bufferLimit / 2
        downstreamStreamOptions = options
        upstreamStreamOptions = options
        turnEnd.worker = self
    }

    deinit {
        for stats in managerStats {
            stats.pointee.deallocate()
            stats.deallocate()
        }
        for stats in tcpStats { stats.deallocate() }
        for index in buffers.indices { buffers[index].deallocate() }
        fields.deallocate()
        logScratch.deallocate()
    }

    /// Nanoseconds of the monotonic clock when this turn of the loop began.
    @inline(__always)
    package var now: UInt64 { loop.turnTime.nanoseconds }

    func nextConnectionID() -> UInt64 { Self.connectionIDs.wrappingAdd(1, ordering: .relaxed).newValue }

    func nextStreamID() -> UInt64 {
        streamIDs &+= 1
        return streamIDs
    }

    /// Drops everything that lives on the loop, on the loop, before that ends.
    package func close() {
        for exporter in exporters.values { exporter.close() }
        exporters = [:]
        for shipper in shippers.values { shipper.close() }
        shippers = [:]
        for cluster in clusters { cluster?.retire() }
        isClosed = true
        clusters = []
        snapshots = []
        tables = []
        managers = []
        listeners = [:]
        streams = []
        attempts = []
        timers = []
        finishedStreams = []
        finishedAttempts = []
    }

    // MARK: Snapshots

    package func set(_ snapshot: ClusterSnapshot) {
        let index = Int(snapshot.id.rawValue)
        while snapshots.count <= index { snapshots.append(nil) }
        snapshots[index] = snapshot
        guard index < clusters.count, let state = clusters[index] else { return }
        if state.settings === snapshot.settings { return state.update(snapshot) }
        clusters[index] = nil
        state.retire()
    }

    package func remove(_ id: ClusterID) {
        let index = Int(id.rawValue)
        guard index < snapshots.count else { return }
        snapshots[index] = nil
        clusterStats[id] = nil
        guard index < clusters.count, let state = clusters[index] else { return }
        clusters[index] = nil
        state.retire()
    }

    @inline(__always)
    package func cluster(_ id: ClusterID) -> ClusterState? {
        let index = Int(id.rawValue)
        if index < clusters.count, let state = clusters[index] { return state }
        return makeCluster(id)
    }

    func cluster(named name: String) -> ClusterState? { ClusterID(known: name).flatMap { cluster($0) } }

    private func makeCluster(_ id: ClusterID) -> ClusterState? {
        let index = Int(id.rawValue)
        guard index < snapshots.count, let snapshot = snapshots[index] else { return nil }
        while clusters.count <= index { clusters.append(nil) }
        let stats = clusterStats[id] ?? ClusterStats()
        clusterStats[id] = stats
        let state = ClusterState(self, snapshot, stats)
        clusters[index] = state
        return state
    }

    func cluster(ifMade id: ClusterID) -> ClusterState? {
        Int(id.rawValue) < clusters.count ? clusters[Int(id.rawValue)] : nil
    }

    /// What was counted of a cluster here; nil when nothing was.
    package func stats(of id: ClusterID) -> ClusterStats? { clusterStats[id] }

    func set(_ table: RouteTable, at place: Int) {
        while tables.count <= place { tables.append(nil) }
        tables[place] = table
    }

    func removeRoutes(_ place: Int) { if place < tables.count { tables[place] = nil } }

    /// A chain's filters are others now.
    func set(_ manager: ConnectionManager, at place: Int) {
        while managers.count <= place { managers.append(nil) }
        managers[place] = manager
    }

    func removeManager(_ place: Int) { if place < managers.count { managers[place] = nil } }

    /// A connection manager with its filters as they are now.
    func present(_ manager: ConnectionManager) -> ConnectionManager {
        guard let place = manager.discovered?.place.number, place < managers.count else { return manager }
        return managers[place] ?? manager
    }

    func routes(_ source: RouteSource) -> RouteTable? {
        switch source {
        case .fixed(let table): table
        case .named(let routes): routes.place < tables.count ? tables[routes.place] : nil
        case .none: nil
        }
    }

    /// The counters of a connection manager. They stay where they are while the worker lives.
    func stats(_ manager: ConnectionManager) -> UnsafeMutablePointer<ManagerStats> {
        while managerStats.count <= manager.statsID {
            let stats = UnsafeMutablePointer<ManagerStats>.allocate(capacity: 1)
            stats.initialize(to: ManagerStats())
            managerStats.append(stats)
        }
        return managerStats[manager.statsID]
    }

    /// The counters of a TCP proxy; as above.
    func stats(_ proxy: TCPProxy) -> UnsafeMutablePointer<TCPStats> {
        while tcpStats.count <= proxy.statsID {
            let stats = UnsafeMutablePointer<TCPStats>.allocate(capacity: 1)
            stats.initialize(to: TCPStats())
            tcpStats.append(stats)
        }
        return tcpStats[proxy.statsID]
    }

    /// Counts a statistic of a block; gauges also go down.
    @inline(__always)
    func count<Block: StatBlock>(_ id: StatBlockID<Block>, _ stat: Block, by amount: Int64 = 1) {
        statRow.add(id.first &+ stat.rawValue, amount)
    }

    var blockValues: [Int64] { statRow.all }

    /// Counts for a filter.
    @inline(__always)
    func count(_ counter: CounterID, _ more: UInt64 = 1) { counters.add(more, to: counter) }

    var filterCounts: [UInt64] { counters.all }

    package func value(_ counter: CounterID) -> UInt64 { counters.value(counter) }

    // MARK: Listeners

    func add(_ listener: ProxyListener, at addresses: [SocketAddress]) {
        for address in addresses { listeners[address] = listener }
    }

    func remove(_ listener: ProxyListener) {
        for (address, other) in listeners where other === listener { listeners[address] = nil }
    }

    /// The listener of an address; else that of the same port on all addresses.
    func listener(at address: SocketAddress) -> ProxyListener? {
        if let listener = listeners[address] { return listener }
        guard case .ip(let ip, let port, _) = address else { return nil }
        return listeners[.ip(ip.family == .v4 ? .anyV4 : .anyV6, port)]
    }

    // MARK: Used again

    /// Where heads are parsed; valid until the next head of this worker.
    func head(capacity: Int) -> MessageHead {
        for head in heads where head.capacity == capacity { return head }
        let head = MessageHead(capacity: capacity)
        heads.append(head)
        return head
    }

    func takeStream(_ codec: DownstreamCodec) -> HTTPStream {
        let stream = streams.popLast() ?? HTTPStream(self)
        stream.begin(codec)
        return stream
    }

    func takeStream(mirroring original: HTTPStream) -> HTTPStream {
        let stream = streams.popLast() ?? HTTPStream(self)
        stream.begin(mirroring: original)
        return stream
    }

    /// Waits until the present event is over: its methods may still be on the stack.
    func giveBack(_ stream: HTTPStream) { finishedStreams.append(stream) }

    func takeAttempt(_ stream: HTTPStream) -> UpstreamAttempt {
        guard let attempt = attempts.popLast() else {
            let attempt = UpstreamAttempt(stream)
            attempt.begin(stream)
            return attempt
        }
        attempt.begin(stream)
        return attempt
    }

    func giveBack(_ attempt: UpstreamAttempt) { finishedAttempts.append(attempt) }

    func takeTimer(for connection: ProxyConnection) -> ConnectionTimer {
        let timer = timers.popLast() ?? ConnectionTimer(loop)
        timer.connection = connection
        return timer
    }

    func giveBack(_ timer: ConnectionTimer) {
        timer.connection = nil
        timer.clear()
        if timers.count < Self.keptObjects, !isClosed { timers.append(timer) }
    }

    func lend(_ output: inout GrowingBytes) {
        if let buffer = buffers.popLast() { output = buffer }
    }

    func giveBack(_ output: inout GrowingBytes) {
        output.clear()
        guard output.capacity > 0, buffers.count < 64 else { return output.deallocate() }
        buffers.append(output)
        output = GrowingBytes()
    }

    // MARK: The end of an event

    /// The terminal has something to send when the present event is over.
    func flushLater(_ terminal: ConnectionTerminal) {
        guard !terminal.isDirty else { return }
        terminal.isDirty = true
        dirty.append(terminal)
    }

    /// As `flushLater`, once more is gathered: for connections that many streams write to.
    func flushAtTurnEnd(_ terminal: ConnectionTerminal) {
        guard !terminal.isDirty else { return }
        terminal.isDirty = true
        late.append(terminal)
        loop.again(turnEnd)
    }

    fileprivate func endTurn() {
        while let terminal = late.popLast() {
            terminal.isDirty = false
            terminal.flush()
        }
        flush()
    }

    /// Keeps what may still be on the stack.
    func keepUntilFlush(_ object: AnyObject) { kept.append(object) }

    /// Sends what was gathered, and takes back what has ended. Every entry from outside ends with it.
    package func flush() {
        guard !isFlushing else { return }
        isFlushing = true
        while let terminal = dirty.popLast() {
            terminal.isDirty = false
            terminal.flush()
        }
        isFlushing = false
        while let stream = finishedStreams.popLast() {
            stream.reset()
            if streams.count < Self.keptObjects, !isClosed { streams.append(stream) }
        }
        if !kept.isEmpty { kept.removeAll() }
        while let attempt = finishedAttempts.popLast() {
            attempt.forget()
            if attempts.count < Self.keptObjects, !isClosed { attempts.append(attempt) }
        }
        if !finishedCalls.isEmpty { completeCalls() }
    }

    /// Where this worker's spans for a collector gather.
    func exporter(_ export: TraceExport) -> SpanExporter {
        let key = ObjectIdentifier(export)
        if let known = exporters[key] { return known }
        let made = SpanExporter(self, export)
        exporters[key] = made
        return made
    }

    /// Where this worker's lines for a log service gather.
    func shipper(_ service: LogService) -> LogShipper {
        let key = ObjectIdentifier(service)
        if let known = shippers[key] { return known }
        let made = LogShipper(self, service)
        shippers[key] = made
        return made
    }

    /// Sends what waits for more of its kind; answers with whether something is still under way. From outside.
    func flushSpans() -> Bool {
        for exporter in exporters.values { exporter.flush() }
        for shipper in shippers.values { shipper.flush() }
        flush()
        return exporters.values.contains(where: \.isBusy) || shippers.values.contains(where: \.isBusy)
    }

    // MARK: Its own requests

    /// Its completion is called when the present event is over.
    func finished(_ call: Call) { finishedCalls.append(call) }

    private func completeCalls() {
        let calls = finishedCalls
        finishedCalls = []
        var completed = false
        for call in calls {
            if call.isStarting {
                finishedCalls.append(call)
            } else {
                call.complete()
                completed = true
            }
        }
        if completed { flush() }
    }

    func withDate<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        date.update(Timestamp.now().seconds)
        return date.withBytes(body)
    }

    func logAccess(_ stream: HTTPStream) { write(stream, to: stream.manager.logs) }

    func write(_ stream: HTTPStream, to logs: [AccessLog]) {
        for log in logs { log.write(stream, &logScratch) }
    }
}

/// Called by the loop at the end of a turn in which somebody asked for it.
private final class TurnEnd: PollHandler, @unchecked Sendable {
    // `@unchecked Sendable` is inherited from PollHandler; only the loop's thread calls it.
    unowned(unsafe) var worker: ProxyWorker?
    override func ready(_ events: PollEvents) { worker?.endTurn() }
}
