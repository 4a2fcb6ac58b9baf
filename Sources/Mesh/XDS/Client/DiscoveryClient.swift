import Bytes

/// The client of an xDS control plane: what to ask for, what the answers change, how they are acknowledged, when to try again.
///
/// A value without I/O, clock and chance. Whoever drives it
/// - opens a stream when `advance` says so, and tells it what becomes of that (`opened`, `received`, `closed`);
/// - takes over what a delivery changes, and tells how that went (`settle`), one delivery after the other;
/// - sends all of `nextRequest` after each of these, and after interest has changed;
/// - calls `advance` when `deadline` has come.
///
/// Both forms of the protocol, all kinds on one stream or one kind on each. Nothing that was accepted is lost with a stream: the
/// next one goes on from the versions in hand.
public struct DiscoveryClient: Sendable {
    public let form: DiscoveryForm
    /// An `envoy.config.core.v3.Node`: who asks.
    private let node: Message
    /// Otherwise in every request.
    private let namesItselfOnce: Bool
    private var subscriptions: [ResourceKind: Subscription] = [:]
    /// What was accepted.
    public private(set) var held = ResourceSet()
    public private(set) var isOpen = false
    private var stream: UInt64 = 0
    private var hasNamedItself = false
    private var isDelivering = false
    private var backOff = BackOff()
    /// Nanoseconds; when to open a stream. `max` while there is one.
    private var connectTime: UInt64 = 0
    private var wildcardDeadlines: [ResourceKind: UInt64] = [:]
    /// What an earlier run had asked for by name: held, though nobody wants it yet, until something is said of the kind.
    private var recalled: [ResourceKind: Set<String>] = [:]
    /// `control_plane.identifier` of the newest response.
    public private(set) var server = ""

    public init(_ form: DiscoveryForm, node: Message, namesItselfOnce: Bool = false) {
        self.form = form
        self.node = node
        self.namesItselfOnce = namesItselfOnce
    }

    // MARK: Interest

    /// Wants a resource. What several want is asked for once, and given up when none of them wants it.
    /// - Parameter fetchTime: Nanoseconds after which it is taken as absent when nothing was heard of it; 0 for ever.
    /// - Returns: The resource, when it is there already.
    public mutating func subscribe(_ kind: ResourceKind, _ name: String, fetchTime: UInt64, now: UInt64) -> Resource? {
        if subscriptions[kind, default: Subscription(kind)].add(name) {
            subscriptions[kind]?.record.counters.attempts += 1
            subscriptions[kind]?.record.asked(name)
            if fetchTime > 0, held[kind, name] == nil {
                subscriptions[kind]?.record.await(name, until: now &+ fetchTime)
            }
        }
        return held[kind, name]
    }

    public mutating func unsubscribe(_ kind: ResourceKind, _ name: String) {
        guard subscriptions[kind]?.remove(name) == true, let subscription = subscriptions[kind] else { return }
        // It is held until the server knows: who asks for it before has it at once.
        if !subscription.isTold(name), !subscription.isWildcard { forget(kind, [name]) }
    }

    /// Wants all of a kind.
    public mutating func subscribeToAll(_ kind: ResourceKind, fetchTime: UInt64, now: UInt64) {
        subscriptions[kind, default: Subscription(kind)].addAll()
        subscriptions[kind]?.record.counters.attempts += 1
        if fetchTime > 0 { wildcardDeadlines[kind] = now &+ fetchTime }
    }

    // MARK: An earlier run

    /// What was accepted, to be written down.
    public var memory: DiscoveryMemory {
        var entries: [DiscoveryMemory.Entry] = []
        for kind in ResourceKind.requestOrder where kind != .secret {
            guard let subscription = subscriptions[kind] else { continue }
            for resource in held.all(kind) where subscription.record.expiries[resource.name] == nil {
                let isNamed = subscription.wanted[resource.name] != nil
                entries.append(DiscoveryMemory.Entry(resource: resource, isNamed: isNamed))
            }
        }
        return DiscoveryMemory(entries)
    }

    /// Goes on from what an earlier run has accepted, in the kinds of which this one has nothing. Those who want it have it at once; a
    /// stream that is opened after this says its versions.
    public mutating func recall(_ memory: DiscoveryMemory) {
        assert(!isOpen, "a stream whose server was told otherwise")
        let kinds = Dictionary(grouping: memory.entries) { $0.resource.kind }
        for (kind, entries) in kinds where held.count(kind) == 0 {
            _ = held.change(kind, entries.map(\.resource), removing: [])
            recalled[kind] = Set(entries.filter(\.isNamed).map(\.resource.name))
        }
    }

    /// What was recalled of a kind, but for what was asked for by name.
    public func recalledOfAll(_ kind: ResourceKind) -> [Resource] {
        guard let named = recalled[kind] else { return [] }
        return held.all(kind).filter { !named.contains($0.name) }
    }

    /// These turned out to be of no use.
    public mutating func disown(_ kind: ResourceKind, _ names: [String]) { forget(kind, names) }

    // MARK: The stream

    public mutating func opened() {
        assert(!isOpen, "a stream while there is one")
        isOpen = true
        stream += 1
        hasNamedItself = false
        connectTime = .max
        for kind in subscriptions.keys {
            subscriptions[kind]?.begin()
            guard let subscription = subscriptions[kind], !subscription.isWildcard else { continue }
            let recalled = recalled[kind] ?? []
            forget(kind, held.all(kind).map(\.name).filter { !subscription.wants($0) && !recalled.contains($0) })
        }
    }

    /// The stream has ended, or could not be opened.
    public mutating func closed(now: UInt64, _ random: inout some RandomSource) {
        isOpen = false
        for kind in subscriptions.keys where subscriptions[kind]?.isActive == true {
            subscriptions[kind]?.record.streamEnded()
        }
        connectTime = now &+ backOff.next(&random)
    }

    /// A message has come.
    /// - Returns: What it changes, to be settled before the next message; nil when it is about nothing that was asked for.
    /// - Throws: It is no response. The stream is of no use any more.
    public mutating func received(_ bytes: [UInt8]) throws(ConfigError) -> DiscoveryDelivery? {
        assert(isOpen && !isDelivering, "a response out of turn")
        let response = try DiscoveryResponse(form, bytes) { [held] kind, name in held[kind, name] }
        backOff.reset()
        if !response.server.isEmpty { server = response.server }
        guard let kind = ResourceKind(typeURL: response.typeURL), let subscription = subscriptions[kind] else {
            return nil
        }
        isDelivering = true
        subscriptions[kind]?.received(response.nonce)
        // What could not even be read is not gone; of what is there twice neither is used.
        let unread = Set(response.refused.map(\.name))
        let resources = response.resources.filter { subscription.wants($0.name) && !unread.contains($0.name) }
        var removed = response.removed
        if form == .stateOfTheWorld, subscription.isWildcard {
            removed = unread.contains("") ? [] : held.absent(kind, from: resources).filter { !unread.contains($0) }
            // Sent again without its contents: it is there.
            removed.removeAll { response.lifetimes[$0] != nil }
        }
        return DiscoveryDelivery(
            update: held.difference(kind, resources, removing: removed),
            absent: removed.filter { subscription.wanted[$0] != nil && held[kind, $0] == nil },
            refused: response.refused.filter { $0.name.isEmpty || subscription.wants($0.name) },
            resources: resources, lifetimes: response.lifetimes, version: response.version, nonce: response.nonce,
            stream: stream)
    }

    /// A delivery was taken over, but for what is refused.
    /// - Parameter time: of the wall clock.
    public mutating func settle(
        _ delivery: DiscoveryDelivery, refusing more: [ResourceRefusal], now: UInt64, at time: Timestamp
    ) {
        isDelivering = false
        let kind = delivery.kind
        guard var subscription = subscriptions[kind] else { return }
        // Changed in place.
        subscriptions[kind] = nil
        defer { subscriptions[kind] = subscription }
        let refusals = delivery.refused + more
        let refused = Set(refusals.map(\.name))
        let accepted = delivery.resources.filter { !refused.contains($0.name) && subscription.wants($0.name) }
        let update = held.change(kind, accepted, removing: delivery.update.removed)
        let changed = Set((update.added + update.updated).map(\.name))
        for resource in accepted {
            let lifetime = delivery.lifetimes[resource.name].map { now &+ Self.nanoseconds($0) }
            subscription.record.accepted(
                resource.name, changed: changed.contains(resource.name) ? time : nil, until: lifetime)
            subscription.record.count(resource.name) {
                $0.succeeded(delivery.version, reloads: changed.contains(resource.name), at: time)
            }
        }
        for (name, lifetime) in delivery.lifetimes where held[kind, name] != nil {
            subscription.record.renew(name, until: now &+ Self.nanoseconds(lifetime))
        }
        for name in update.removed + delivery.absent {
            subscription.record.gone(name, isWanted: subscription.wanted[name] != nil)
        }
        for refusal in refusals {
            let failure = ResourceStatus.Failure(version: delivery.version, details: refusal.reason, time: time)
            subscription.record.refused(refusal.name, failure)
            subscription.record.count(refusal.name) { $0.rejections &+= 1 }
        }
        subscription.record.counters.attempts += 1
        let reason = refusals.isEmpty ? nil : kind.rejection(of: refusals)
        if reason == nil {
            subscription.record.counters.succeeded(delivery.version, reloads: true, at: time)
        } else {
            subscription.record.counters.rejections += 1
        }
        wildcardDeadlines[kind] = nil
        if let names = recalled.removeValue(forKey: kind) {
            forget(kind, names.filter { subscription.wanted[$0] == nil })
        }
        if delivery.stream == stream, isOpen {
            subscription.settle(delivery.nonce, version: delivery.version, refusal: reason)
        } else {
            subscription.settleUnanswered(version: delivery.version, refusal: reason)
        }
    }

    private static func nanoseconds(_ time: Duration) -> UInt64 {
        let (seconds, attoseconds) = time.components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let (product, isTooLong) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        return isTooLong ? UInt64.max / 2 : min(product, UInt64.max / 4) &+ UInt64(attoseconds / 1_000_000_000)
    }

    /// The next request that the stream is due; nil for none. While a delivery is not settled there is none: what that adds to
    /// the interest is asked for at once, not name by name.
    public mutating func nextRequest() -> [UInt8]? {
        guard isOpen, !isDelivering else { return nil }
        for kind in ResourceKind.requestOrder where subscriptions[kind] != nil {
            let (held, recalled) = (held, recalled[kind] ?? [])
            let wanted = subscriptions[kind]?.wanted ?? [:]
            guard
                let request = subscriptions[kind]?.request(
                    form,
                    held: {
                        held.all(kind).filter { !recalled.contains($0.name) || wanted[$0.name] != nil }
                            .map { ($0.name, $0.version) }
                    })
            else { continue }
            if let subscription = subscriptions[kind], !subscription.isWildcard { forget(kind, subscription.forgotten) }
            let message = request.message(kind, form, node: hasNamedItself && namesItselfOnce ? nil : node)
            hasNamedItself = true
            return message.binary()
        }
        return nil
    }

    private mutating func forget(_ kind: ResourceKind, _ names: some Collection<String>) {
        if !names.isEmpty { _ = held.change(kind, [], removing: Array(names)) }
    }

    // MARK: Time

    public enum Occurrence: Sendable {
        /// Open a stream.
        case connect
        /// Resources whose time is over are no more.
        case expired(ResourceUpdate)
        /// Nothing was heard of these in time; they are taken as absent, until they come.
        case timedOut(ResourceKind, [String])
        /// As above for all of a kind.
        case timedOutAll(ResourceKind)
    }

    /// Nanoseconds; when `advance` is to be called. `max` for never.
    public var deadline: UInt64 {
        var deadline = min(connectTime, wildcardDeadlines.values.min() ?? .max)
        for subscription in subscriptions.values { deadline = min(deadline, subscription.record.deadline) }
        return deadline
    }

    public mutating func advance(to now: UInt64) -> [Occurrence] {
        var occurrences: [Occurrence] = []
        for kind in ResourceKind.requestOrder where subscriptions[kind] != nil {
            let expired = subscriptions[kind]?.record.takeExpired(now) ?? []
            if !expired.isEmpty {
                let update = held.change(kind, [], removing: expired)
                for name in update.removed {
                    let isWanted = subscriptions[kind]?.wanted[name] != nil
                    subscriptions[kind]?.record.gone(name, isWanted: isWanted)
                }
                if !update.isEmpty { occurrences.append(.expired(update)) }
            }
            let late = subscriptions[kind]?.record.takeTimedOut(now) ?? []
            if !late.isEmpty {
                subscriptions[kind]?.record.counters.fetchTimeouts += UInt64(late.count)
                occurrences.append(.timedOut(kind, late))
            }
            if let deadline = wildcardDeadlines[kind], deadline <= now {
                wildcardDeadlines[kind] = nil
                subscriptions[kind]?.gaveUpWaiting()
                subscriptions[kind]?.record.counters.fetchTimeouts += 1
                occurrences.append(.timedOutAll(kind))
            }
        }
        if connectTime <= now {
            connectTime = .max
            occurrences.append(.connect)
        }
        return occurrences
    }

    // MARK: What there is to tell

    /// The last version of a kind that was accepted as a whole.
    public func version(of kind: ResourceKind) -> String { subscriptions[kind]?.version ?? "" }
    public func counters(of kind: ResourceKind) -> SubscriptionCounters? { subscriptions[kind]?.record.counters }
    /// Of each resource that is asked for by its name.
    public func namedCounters(of kind: ResourceKind) -> [String: SubscriptionCounters] {
        subscriptions[kind]?.record.named ?? [:]
    }
    /// Something was said of the kind, or has been waited for long enough.
    public func isKnown(_ kind: ResourceKind) -> Bool { subscriptions[kind]?.isKnown ?? false }

    /// It is known that there is nothing under the name, for now.
    public func isGivenUp(_ kind: ResourceKind, _ name: String) -> Bool {
        guard let record = subscriptions[kind]?.record, held[kind, name] == nil else { return false }
        return record.absent.contains(name) || record.timedOut.contains(name) || record.refused[name] != nil
    }

    /// Every resource of a kind that is wanted, held, or was refused, by name.
    public func statuses(_ kind: ResourceKind) -> [ResourceStatus] {
        guard let subscription = subscriptions[kind] else { return [] }
        let record = subscription.record
        var names = Set(held.all(kind).map(\.name))
        names.formUnion(subscription.wanted.keys)
        names.formUnion(record.refused.keys)
        names.remove("")
        return names.sorted().map { name in
            let resource = held[kind, name]
            let client: ResourceStatus.Client =
                if record.refused[name] != nil {
                    .refused
                } else if resource != nil {
                    .accepted
                } else if record.absent.contains(name) {
                    .absent
                } else {
                    record.timedOut.contains(name) ? .timedOut : .requested
                }
            return ResourceStatus(
                name: name, resource: resource, updated: record.updated[name], failure: record.refused[name],
                client: client)
        }
    }
}
