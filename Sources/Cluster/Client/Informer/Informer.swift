public import ClusterAPI
import Reactor
import Synchronization
import Telemetry

/// What an informer keeps of an object. Decode only what is needed: the JSON tree is dropped afterwards.
public protocol APIDecodable: Sendable {
    init(_ object: KubeObject) throws
}

extension KubeObject: APIDecodable {
    public init(_ object: KubeObject) { self = object }
}

/// One change in an informer's store, delivered after the store has it.
public enum InformerEvent<Element: Sendable>: Sendable {
    case added(ObjectKey, Element)
    case updated(ObjectKey, old: Element, new: Element)
    case deleted(ObjectKey, Element)
    /// The store now holds everything that existed when the watch began; sent once.
    case synced
}

/// Keeps the current objects of one resource in memory and tells of each change.
///
/// It opens a WatchList stream (KEP-3157) where the server has it, else lists in pages and watches. A broken stream is
/// resumed from the last resourceVersion seen; only when the server no longer has that version (410) is everything read
/// again, and then only real differences are told. Handlers run one event at a time, in order, on the task that calls
/// `run()`; they must not block. Reads (`get`, `list`, `indexed`) may come from any thread.
public final class Informer<Element: APIDecodable>: Sendable {
    public typealias Handler = @Sendable (InformerEvent<Element>) -> Void

    public let resource: GroupVersionResource
    private let client: KubeClient
    private let namespace: String?
    private let selection: Selection
    private let log: Log
    private let state: Mutex<State>

    private struct Entry {
        var element: Element
        var resourceVersion: String
        /// The number of the last full read that saw this object; older ones are gone.
        var generation: UInt64
        /// Index terms, in the order of the indexes.
        var terms: [[String]]
    }

    private struct State {
        var entries: [ObjectKey: Entry] = [:]
        var indexes: [Index] = []
        var handlers: [Handler] = []
        var hasSynced = false
        var waiters: [CheckedContinuation<Void, Never>] = []
        var generation: UInt64 = 0
        var isRunning = false

        mutating func reindex(_ key: ObjectKey, from old: [[String]]?, to new: [[String]]?) {
            for i in indexes.indices {
                let (before, after) = (old?[i] ?? [], new?[i] ?? [])
                if before == after { continue }
                for term in before {
                    indexes[i].keys[term]?.remove(key)
                    if indexes[i].keys[term]?.isEmpty == true { indexes[i].keys[term] = nil }
                }
                for term in after { indexes[i].keys[term, default: []].insert(key) }
            }
        }
    }

    private struct Index {
        var name: String
        var terms: @Sendable (ObjectKey, Element) -> [String]
        var keys: [String: Set<ObjectKey>] = [:]
    }

    /// - Parameter namespace: nil watches all namespaces.
    public init(
        _ client: KubeClient, _ resource: GroupVersionResource, namespace: String? = nil,
        selection: Selection = .everything, of: Element.Type = Element.self, log: Log = .shared
    ) {
        self.client = client
        self.resource = resource
        self.namespace = namespace
        self.selection = selection
        self.log = log
        state = Mutex(State())
    }

    /// Adds a handler; must be called before `run()`, so that it sees every event.
    public func onEvent(_ handler: @escaping Handler) {
        state.withLock {
            precondition(!$0.isRunning, "handlers are added before the informer runs")
            $0.handlers.append(handler)
        }
    }

    /// Adds an index by the terms that `terms` gives for each object; must be called before `run()`.
    public func addIndex(_ name: String, _ terms: @escaping @Sendable (ObjectKey, Element) -> [String]) {
        state.withLock {
            precondition(!$0.isRunning, "indexes are added before the informer runs")
            $0.indexes.append(Index(name: name, terms: terms))
        }
    }

    public func get(_ key: ObjectKey) -> Element? { state.withLock { $0.entries[key]?.element } }

    /// All objects, in no order.
    public func list() -> [Element] { state.withLock { $0.entries.values.map(\.element) } }

    public var keys: [ObjectKey] { state.withLock { Array($0.entries.keys) } }

    public var count: Int { state.withLock { $0.entries.count } }

    /// The objects whose terms in the named index hold `term`, in no order.
    public func indexed(_ index: String, _ term: String) -> [Element] {
        state.withLock { state in
            guard let index = state.indexes.first(where: { $0.name == index }) else { return [] }
            return (index.keys[term] ?? []).compactMap { state.entries[$0]?.element }
        }
    }

    public var hasSynced: Bool { state.withLock { $0.hasSynced } }

    /// Returns once the store holds everything that existed when the informer started.
    public func waitForSync() async {
        await withCheckedContinuation { continuation in
            let isSynced = state.withLock { state in
                if !state.hasSynced { state.waiters.append(continuation) }
                return state.hasSynced
            }
            if isSynced { continuation.resume() }
        }
    }

    /// Follows the resource until the surrounding task is cancelled. Run it once, on a loop.
    public func run() async {
        state.withLock { $0.isRunning = true }
        var backoff = Backoff.reconnect
        var version: String?
        while !Task.isCancelled {
            let started = MonotonicTime.now()
            do {
                if let from = version {
                    try await follow(from: from, version: &version)
                } else {
                    try await readEverything(version: &version)
                }
                backoff.reset()
            } catch is CancellationError {
                break
            } catch let error as StatusError where error.code == 410 {
                log.info("watch history is gone, reading everything again", ["resource": "\(resource)"])
                version = nil
            } catch {
                if Task.isCancelled { break }
                // A stream that lived long enough was healthy: its end is not a reason to wait longer.
                if MonotonicTime.now().duration(since: started) > Backoff.healthyAfter { backoff.reset() }
                let delay = backoff.next()
                log.debug(
                    "watch broke, will resume",
                    ["resource": "\(resource)", "error": "\(error)", "delay": "\(delay)", "from": version ?? ""])
                try? await EventLoop.sleep(for: delay)
            }
        }
    }

    // MARK: Reading everything

    private func readEverything(version: inout String?) async throws {
        let generation = state.withLock { state in
            state.generation += 1
            return state.generation
        }
        do {
            var request = APIRequest(.list, resource, namespace: namespace, parameters: selection.parameters)
            request.parameters += [
                ("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan"),
                ("allowWatchBookmarks", "true"), ("timeoutSeconds", watchTimeout()),
            ]
            let stream = try await client.transport.watch(request)
            try await consume(stream, generation: generation, version: &version)
        } catch let error as StatusError where error.code == 400 || error.code == 422 {
            // The server has no WatchList: page through a list, then watch from its version.
            let list = try await client.list(resource, namespace: namespace, selection)
            for item in list.items { apply(item, generation: generation) }
            finishInitial(generation: generation)
            version = list.resourceVersion
        }
    }

    private func follow(from: String, version: inout String?) async throws {
        var request = APIRequest(.list, resource, namespace: namespace, parameters: selection.parameters)
        request.parameters += [
            ("resourceVersion", from), ("allowWatchBookmarks", "true"), ("timeoutSeconds", watchTimeout()),
        ]
        let stream = try await client.transport.watch(request)
        try await consume(stream, generation: nil, version: &version)
    }

    /// 5 to 10 minutes, drawn anew, so that many clients do not reconnect together.
    private func watchTimeout() -> String { String(Int.random(in: 300..<600)) }

    /// - Parameter generation: set while the initial events of a WatchList are coming.
    private func consume(_ stream: any WatchStream, generation: UInt64?, version: inout String?) async throws {
        var initial = generation
        while let event = try await stream.next() {
            switch event.kind {
            case .error:
                throw StatusError(json: event.object.json)
                    ?? .internalError("a watch of \(resource) ended in an error without a Status")
            case .bookmark:
                if let generation = initial, event.endsInitialEvents {
                    finishInitial(generation: generation)
                    initial = nil
                }
            case .added, .modified:
                apply(event.object, generation: initial)
            case .deleted:
                remove(event.object.key)
            }
            // Until the initial events are complete there is no version that a watch could resume from.
            if initial == nil { version = event.object.resourceVersion }
        }
    }

    // MARK: The store

    private func apply(_ object: KubeObject, generation: UInt64?) {
        let key = object.key
        let resourceVersion = object.resourceVersion
        let isKnown = state.withLock { state in
            guard state.entries[key]?.resourceVersion == resourceVersion, !resourceVersion.isEmpty else { return false }
            if let generation { state.entries[key]?.generation = generation }
            return true
        }
        if isKnown { return }
        let element: Element
        do {
            element = try Element(object)
        } catch {
            log.warning(
                "object cannot be read, ignored", ["resource": "\(resource)", "object": "\(key)", "error": "\(error)"])
            remove(key)
            return
        }
        let (event, handlers) = state.withLock { state -> (InformerEvent<Element>, [Handler]) in
            let terms = state.indexes.map { $0.terms(key, element) }
            let old = state.entries.updateValue(
                Entry(
                    element: element, resourceVersion: resourceVersion, generation: generation ?? state.generation,
                    terms: terms),
                forKey: key)
            state.reindex(key, from: old?.terms, to: terms)
            let event: InformerEvent<Element> =
                if let old { .updated(key, old: old.element, new: element) } else { .added(key, element) }
            return (event, state.handlers)
        }
        for handler in handlers { handler(event) }
    }

    private func remove(_ key: ObjectKey) {
        let (old, handlers) = state.withLock { state -> (Entry?, [Handler]) in
            let old = state.entries.removeValue(forKey: key)
            state.reindex(key, from: old?.terms, to: nil)
            return (old, state.handlers)
        }
        guard let old else { return }
        for handler in handlers { handler(.deleted(key, old.element)) }
    }

    /// Objects that a full read did not see were deleted while nobody watched.
    private func finishInitial(generation: UInt64) {
        let stale = state.withLock { $0.entries.filter { $0.value.generation < generation }.map(\.key) }
        for key in stale { remove(key) }
        let (isFirst, handlers, waiters) = state.withLock { state in
            let isFirst = !state.hasSynced
            state.hasSynced = true
            let waiters = state.waiters
            state.waiters = []
            return (isFirst, state.handlers, waiters)
        }
        if isFirst { for handler in handlers { handler(.synced) } }
        for waiter in waiters { waiter.resume() }
    }
}
