import ClusterAPI
import JSON
import Reactor
import Store
import Synchronization

/// One client's watch: where it is in the feed, what it wants, and when it ends. No queue of its own, ever.
///
/// @unchecked: `next` is called by one task at a time; the rest is constant, atomic or a lock of its own.
final class WatchSession: @unchecked Sendable {
    /// Seconds after which a watch ends when its client names no time, drawn for each so that not all clients come back
    /// at once.
    static let defaultTimeout: Range<Int64> = 1800..<3600
    /// Longest that a client may ask for, seconds.
    static let longestTimeout: Int64 = 86_400
    static let bookmarkInterval = Duration.seconds(60)
    /// Writes taken from the feed at a time.
    private static let pageSize = 256

    let resource: ResourceDescription
    private let feed: ResourceFeed
    private let selection: Selection
    /// `namespace/`, or empty.
    private let scope: String
    private let sendsBookmarks: Bool
    private let point: WaitPoint
    private let isEnded = Atomic(false)

    private var cursor: Revision
    /// The state to begin with, still to be sent.
    private var initial: ArraySlice<StoredObject>
    /// Whether the end of the initial state is to be marked.
    private var marksInitialEnd: Bool
    private var nextBookmark: ContinuousClock.Instant
    private let deadline: ContinuousClock.Instant

    /// What a step of the watch yields.
    enum Step: Sendable {
        /// Writes, with how this watcher sees them.
        case changes([(kind: WatchKind, record: ChangeRecord)])
        /// Objects of the initial state.
        case initial(ArraySlice<StoredObject>)
        /// All up to the revision has been sent; `endsInitial` once.
        case bookmark(Revision, endsInitial: Bool)
        /// The watch is over for a reason that the client must hear.
        case error(StatusError)
    }

    init(
        _ resource: ResourceDescription, feed: ResourceFeed, selection: Selection, namespace: String, after: Revision,
        initial: [StoredObject], marksInitialEnd: Bool, sendsBookmarks: Bool, timeout: Int64?
    ) {
        self.resource = resource
        self.feed = feed
        self.selection = selection
        scope = namespace.isEmpty ? "" : namespace + "/"
        self.sendsBookmarks = sendsBookmarks
        self.initial = initial[...]
        self.marksInitialEnd = marksInitialEnd
        cursor = after
        point = WaitPoint(loop: EventLoop.current)
        let now = ContinuousClock.now
        deadline =
            now + .seconds(timeout.map { max(0, min($0, Self.longestTimeout)) } ?? .random(in: Self.defaultTimeout))
        nextBookmark = now + Self.bookmarkInterval
    }

    /// Ends the watch from outside: the client is gone, or the server goes.
    func end() {
        isEnded.store(true, ordering: .releasing)
        point.wake()
    }

    /// The next thing to send; nil when the watch is over.
    func next() async -> Step? {
        defer { feed.unpark(point) }
        while !isEnded.load(ordering: .acquiring), !Task.isCancelled {
            if !initial.isEmpty {
                let part = initial.prefix(Self.pageSize)
                initial = initial.dropFirst(Self.pageSize)
                return .initial(part)
            }
            if marksInitialEnd {
                marksInitialEnd = false
                return .bookmark(cursor, endsInitial: true)
            }
            // Read before the feed: whatever it covers is then in the feed.
            let progress = feed.progress
            switch feed.read(after: cursor, limit: Self.pageSize) {
            case .expired(let oldest):
                isEnded.store(true, ordering: .releasing)
                return .error(.tooOldResourceVersion(cursor.rawValue, oldest: oldest.rawValue))
            case .records(let records):
                let changes = select(records)
                if let last = records.last { cursor = last.revision }
                if !changes.isEmpty { return .changes(changes) }
                if !records.isEmpty { continue }
            }
            let now = ContinuousClock.now
            if now >= deadline {
                isEnded.store(true, ordering: .releasing)
                return sendsBookmarks ? .bookmark(max(cursor, progress), endsInitial: false) : nil
            }
            if sendsBookmarks, now >= nextBookmark {
                nextBookmark = now + Self.bookmarkInterval
                cursor = max(cursor, progress)
                return .bookmark(cursor, endsInitial: false)
            }
            await sleep(until: sendsBookmarks ? min(deadline, nextBookmark) : deadline, from: now)
        }
        return nil
    }

    private func select(_ records: [ChangeRecord]) -> [(kind: WatchKind, record: ChangeRecord)] {
        var changes: [(kind: WatchKind, record: ChangeRecord)] = []
        for record in records {
            guard scope.isEmpty || record.path.utf8.starts(with: scope.utf8), let kind = selection.kind(of: record)
            else {
                continue
            }
            changes.append((kind, record))
        }
        return changes
    }

    private func sleep(until wakeUp: ContinuousClock.Instant, from now: ContinuousClock.Instant) async {
        let loop = EventLoop.current
        let point = point
        if let loop {
            let timer = loop.schedule(after: now.duration(to: wakeUp)) { point.wake() }
            feed.park(point, after: cursor)
            await point.sleep()
            loop.cancel(timer)
        } else {
            let timer = Task {
                try await Task.sleep(until: wakeUp, clock: .continuous)
                point.wake()
            }
            feed.park(point, after: cursor)
            await point.sleep()
            timer.cancel()
        }
    }
}

extension Registry {
    /// GET of a collection, or of one object, with `watch`.
    func watch(_ call: APICall, _ options: ListOptions) async throws(StatusError) -> WatchSession {
        let selection = try Selection(options, call.resource, name: call.name)
        let feed = try storage.feed(call.resource)
        let startsWithState: Bool
        if let sendsInitial = options.sendsInitialEvents {
            startsWithState = sendsInitial
        } else {
            startsWithState = options.revision == nil || options.revision == .zero
        }
        var after = options.revision ?? .zero
        var initial: [StoredObject] = []
        if let revision = options.revision, revision != .zero { try await waitUntilFresh(revision) }
        if startsWithState {
            var plain = options
            plain.revision = nil
            plain.match = nil
            plain.limit = nil
            let state = try await list(call, plain)
            initial = state.items
            after = Revision(rawValue: state.revision)
        } else if options.revision == nil || options.revision == .zero {
            after = storage.currentRevision
        }
        if case .expired(let oldest) = feed.read(after: after, limit: 0) {
            throw .tooOldResourceVersion(after.rawValue, oldest: oldest.rawValue)
        }
        return WatchSession(
            call.resource, feed: feed, selection: selection, namespace: call.namespace, after: after, initial: initial,
            marksInitialEnd: options.sendsInitialEvents == true, sendsBookmarks: options.allowsBookmarks,
            timeout: options.timeout)
    }
}
