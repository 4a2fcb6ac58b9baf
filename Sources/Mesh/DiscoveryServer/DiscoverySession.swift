import GRPC
import XDS

/// One stream of one proxy: what it wants, what it has, and what goes out next. Requests and changes in, responses out; no I/O.
final class DiscoverySession {
    /// Names of one kind that a stream may ask for. Beyond: the stream is ended with RESOURCE_EXHAUSTED.
    static let nameLimit = 100_000
    /// Bytes of resources in a response after which the rest waits for the next one, where the protocol allows several: libraries
    /// refuse messages above 4 MB, and when a control plane comes back all proxies are sent one at the same time.
    static let responseBytes = 256 << 10
    /// What is referred to goes before what refers to it (xDS protocol, "eventual consistency").
    static let order: [ResourceKind] = [
        .cluster, .clusterLoadAssignment, .secret, .listener, .routeConfiguration, .scopedRouteConfiguration,
        .virtualHost,
        .extensionConfig, .runtime,
    ]

    let form: DiscoveryForm
    /// The kind of a stream that is for one; nil on an aggregated one.
    let only: ResourceKind?
    let tables: NameTables
    private let identifier: String
    private(set) var node: ProxyNode?
    private(set) var scopes: [ServedScope] = []
    /// How many of them, from the first on, are sent to who asks for all; of the others what is asked for by name.
    private var listed = 0
    /// Of these the clusters and endpoints are still seen, after all others: the session was moved to other scopes, and what it
    /// has may still refer to them.
    private var replaced: [ServedScope] = []
    private(set) var kinds: [ResourceKind: KindState] = [:]
    private var lastNonce: UInt64 = 0
    /// What the proxy refuses is not what it refused when this was last set to false.
    var hasNewRefusals = false
    /// Endpoints of clusters that were sent: the proxy will ask for them, and routes to those clusters wait until it has them.
    private var expected = NameSet()

    /// - Parameter identifier: What the control plane calls itself in responses.
    init(_ form: DiscoveryForm, only: ResourceKind?, tables: NameTables, identifier: String) {
        self.form = form
        self.only = only
        self.tables = tables
        self.identifier = identifier
    }

    /// Whether listeners and routes are with the proxy as they are here, so that what they no longer refer to may go.
    var isSettled: Bool {
        [ResourceKind.listener, .routeConfiguration].allSatisfy { kinds[$0]?.isSettled ?? true }
    }

    /// Clusters and endpoints are still on their way, so what refers to them must not overtake them.
    private var isMaking: Bool {
        guard only == nil else { return false }
        return !expected.isEmpty
            || [ResourceKind.cluster, .clusterLoadAssignment].contains { !(kinds[$0]?.isSettled ?? true) }
    }

    var isRefusing: Bool { kinds.values.contains { $0.refusal != nil } }

    var isExpecting: Bool { !expected.isEmpty }

    /// Waits no longer for what the proxy should have asked for.
    func giveUpExpecting() { expected.removeAll() }

    // MARK: Requests

    /// - Parameter resolve: Who the node is: the scopes that it sees. Called once, for the first request.
    /// - Throws: What ends the stream.
    func receive(
        _ bytes: [UInt8], resolve: (ProxyNode) throws(GRPCEnding) -> ServedView
    ) throws(GRPCEnding) {
        var request = try ReceivedRequest(form, bytes)
        if node == nil {
            guard let bytes = request.node else {
                throw GRPCEnding(.invalidArgument, "the first request of a stream must name its node")
            }
            let node = try ProxyNode(bytes)
            let view = try resolve(node)
            scopes = view.scopes + view.onDemand
            listed = view.scopes.count
            self.node = node
        }
        guard let kind = try kind(of: request) else { return }
        let isFirst = kinds[kind] == nil
        let state = kinds[kind] ?? KindState()
        let isCurrent = isFirst || request.nonce == Self.text(state.nonce)
        // A spontaneous request of a delta has no nonce, and what it asks for counts even if it is old.
        guard isCurrent || form == .delta else { return }
        let answers = state.awaitsAnswer && isCurrent && !isFirst && state.nonce != 0
        if answers {
            state.awaitsAnswer = false
            let isWhole = form == .stateOfTheWorld && kind.isCompleteState
            if state.take(answer: request.refusal, tables[kind], isWhole: isWhole) { hasNewRefusals = true }
            if request.refusal == nil { state.acceptedVersion = state.sentVersion }
            // Whatever of the clusters it took, it may not ask for the endpoints of all.
            if request.refusal != nil, kind == .cluster { expected.removeAll() }
        }
        let repeats = form == .stateOfTheWorld && request.namesHash == state.namesHash
        if form == .stateOfTheWorld, !repeats {
            request.names = try ReceivedRequest.names(in: bytes)
            state.namesHash = request.namesHash
        }
        switch form {
        case .stateOfTheWorld where repeats: takeRepeated(kind, state, answers: answers)
        case .stateOfTheWorld: takeWhole(request, kind, state, isFirst: isFirst, answers: answers)
        case .delta: takeChange(request, kind, state, isFirst: isFirst)
        }
        if kind == .clusterLoadAssignment, !expected.isEmpty {
            for name in request.names {
                // Also to who has them, from a stream before this one: the cluster is not what it was.
                if let id = tables[kind].id(name), expected.remove(id) { state.pending.insert(id) }
            }
        }
        guard state.names.count + state.unknown.count <= Self.nameLimit else {
            throw GRPCEnding(.resourceExhausted, "more than \(Self.nameLimit) names of one kind are asked for")
        }
        kinds[kind] = state
    }

    /// - Returns: Nil for a kind that this server has never heard of: it has none of it, which is no error.
    private func kind(of request: ReceivedRequest) throws(GRPCEnding) -> ResourceKind? {
        guard let only else { return ResourceKind(typeURL: request.typeURL) }
        guard request.typeURL.isEmpty || request.typeURL == only.typeURL else {
            throw GRPCEnding(.invalidArgument, "this stream is for \(only.typeURL), not for \(request.typeURL)")
        }
        return only
    }

    /// All that is asked for stands in the request.
    private func takeWhole(
        _ request: ReceivedRequest, _ kind: ResourceKind, _ state: KindState, isFirst: Bool, answers: Bool
    ) {
        let old = (wildcard: state.isWildcard, names: state.names, unknown: state.unknown)
        if !request.names.isEmpty { state.hasNamed = true }
        state.isWildcard = request.names.contains("*") || kind.isCompleteState && !state.hasNamed
        state.names = NameSet()
        state.unknown = []
        for name in request.names where name != "*" {
            if let id = tables[kind].id(name) { state.names.insert(id) } else { state.unknown.insert(name) }
        }
        if kind.isCompleteState {
            let changed = old.wildcard != state.isWildcard || old.names != state.names || old.unknown != state.unknown
            // A proxy that comes back says what it has, and is left in peace when that is all there is.
            if isFirst {
                state.owesState = request.version.isEmpty || request.version != wholeVersion(kind, state)
                if !state.owesState { state.acceptedVersion = request.version }
            } else if changed {
                state.owesState = true
            }
            return
        }
        for id in state.names where isFirst || !old.names.contains(id) { state.pending.insert(id) }
        if state.isWildcard, !old.wildcard { for id in visible(kind) { state.pending.insert(id) } }
        if !isFirst, !answers, old.names == state.names { sendAgain(state) }
        for id in state.pending where !state.wants(id) { state.pending.remove(id) }
    }

    /// All that is asked for is what was asked for before.
    private func takeRepeated(_ kind: ResourceKind, _ state: KindState, answers: Bool) {
        if !answers, !kind.isCompleteState { sendAgain(state) }
    }

    /// Who asks again for what it has needs it again: a cluster that changed warms up with endpoints that are sent after it.
    private func sendAgain(_ state: KindState) { for id in state.names { state.pending.insert(id) } }

    /// The request adds and takes away.
    private func takeChange(_ request: ReceivedRequest, _ kind: ResourceKind, _ state: KindState, isFirst: Bool) {
        if isFirst, request.names.isEmpty, kind.isCompleteState { subscribeAll(kind, state) }
        for name in request.names {
            state.hasNamed = true
            if name == "*" {
                subscribeAll(kind, state)
            } else if let id = tables[kind].id(name) {
                state.names.insert(id)
                state.pending.insert(id)
            } else {
                state.unknown.insert(name)
                state.gone.insert(name)
            }
        }
        for name in request.dropped {
            if name == "*" {
                state.isWildcard = false
                for id in state.pending where !state.names.contains(id) { state.pending.remove(id) }
            } else if let id = tables[kind].id(name) {
                // With all still subscribed the proxy must be told whether it keeps it.
                if state.names.remove(id), state.isWildcard { state.pending.insert(id) }
                if !state.wants(id) { state.pending.remove(id) }
            } else {
                state.unknown.remove(name)
                if state.isWildcard { state.gone.insert(name) } else { state.gone.remove(name) }
            }
        }
        guard isFirst else { return }
        for (name, version) in request.held {
            guard let id = tables[kind].id(name) else {
                state.gone.insert(name)
                continue
            }
            if let resource = resource(kind, id, for: state) {
                if resource.version == version { state.pending.remove(id) }
            } else {
                state.pending.insert(id)
            }
        }
        // Proxies wait for what there is of clusters and listeners before they go on, also where there is nothing.
        state.owesState = state.isWildcard && request.held.isEmpty && state.isSettled
        // What it came back with is what there is, and nothing will be sent that it could accept.
        if !request.held.isEmpty, state.isSettled { state.acceptedVersion = wholeVersion(kind, state) }
    }

    private func subscribeAll(_ kind: ResourceKind, _ state: KindState) {
        guard !state.isWildcard else { return }
        state.isWildcard = true
        for id in visible(kind) { state.pending.insert(id) }
    }

    // MARK: Changes

    /// A resource of one of the scopes came, changed or went.
    ///
    /// - Returns: Whether that is anything to this stream.
    @discardableResult
    func note(_ kind: ResourceKind, _ id: Int, in scope: ServedScope) -> Bool {
        guard let state = kinds[kind] else { return false }
        if !state.unknown.isEmpty, state.unknown.remove(tables[kind][id]) != nil {
            state.gone.remove(tables[kind][id])
            state.names.insert(id)
        }
        guard state.names.contains(id) || state.isWildcard && !isOnDemand(scope) else { return false }
        if form == .stateOfTheWorld, kind.isCompleteState { state.owesState = true }
        state.pending.insert(id)
        return true
    }

    private func isOnDemand(_ scope: ServedScope) -> Bool { scopes[listed...].contains { $0 === scope } }

    /// Sees another scope in the place of one of its own.
    func replace(_ old: ServedScope, with new: ServedScope) {
        guard let place = scopes.firstIndex(where: { $0 === old }) else { return }
        scopes[place] = new
        replaced.removeAll { $0 === new }
        replaced.append(old)
        for kind in Set(old.resources.keys).union(new.resources.keys) {
            let (before, after) = (old.resources[kind] ?? [:], new.resources[kind] ?? [:])
            for (id, resource) in after where before[id]?.fingerprint != resource.fingerprint {
                note(kind, id, in: new)
            }
            guard !Self.outlast.contains(kind) else { continue }
            for id in before.keys where after[id] == nil { note(kind, id, in: new) }
        }
    }

    /// What it has no longer refers to the scopes from which it was moved.
    func forgetReplaced() {
        let scopes = replaced
        replaced = []
        for scope in scopes {
            for kind in Self.outlast {
                for id in (scope.resources[kind] ?? [:]).keys where resource(kind, id) == nil {
                    note(kind, id, in: scope)
                }
            }
        }
    }

    /// What others refer to.
    private static let outlast: Set<ResourceKind> = [.cluster, .clusterLoadAssignment]

    // MARK: Responses

    /// The next response; nil when there is nothing to say before the proxy has answered or something changes.
    func next() -> [UInt8]? {
        for kind in Self.order {
            // From here on it is about what refers to clusters.
            if kind == .listener, isMaking { return nil }
            guard let state = kinds[kind], !state.awaitsAnswer else { continue }
            let response =
                switch form {
                case .stateOfTheWorld: whole(kind, state)
                case .delta: change(kind, state)
                }
            if let response { return response }
        }
        return nil
    }

    /// So many resources most likely fill a response.
    private static let manyResources = 400

    private func whole(_ kind: ResourceKind, _ state: KindState) -> [UInt8]? {
        var body: [UInt8] = []
        var any = false
        let version: String
        if kind.isCompleteState {
            guard state.owesState else { return nil }
            version = wholeVersion(kind, state)
            state.owesState = false
            any = true
            for id in asked(kind) where state.wants(id) {
                guard let resource = resource(kind, id) else { continue }
                resource.appendState(to: &body)
                state.sent.insert(id)
                expectEndpoints(of: resource, hasChanged: state.pending.contains(id))
            }
            state.pending.removeAll()
        } else {
            // Of what is sent, not of all that was asked for: the work is in proportion to the change.
            var fingerprint: UInt64 = 0
            for id in state.pending {
                guard body.count < Self.responseBytes else { break }
                state.pending.remove(id)
                // That one is gone follows from what refers to it.
                guard let resource = resource(kind, id) else { continue }
                any = true
                state.sent.insert(id)
                fingerprint ^= ServedResource.hash(resource.name.utf8, from: resource.fingerprint)
                resource.appendState(to: &body)
            }
            version = ServedResource.version(fingerprint)
        }
        guard any else { return nil }
        state.sentVersion = version
        var head: [UInt8] = []
        head.append(field: 1, version)
        var tail: [UInt8] = []
        tail.append(field: 4, kind.typeURL)
        tail.append(field: 5, open(state))
        var server: [UInt8] = []
        server.append(field: 1, identifier)
        tail.append(field: 6, server)
        return Self.joined(head, body, tail)
    }

    private func change(_ kind: ResourceKind, _ state: KindState) -> [UInt8]? {
        guard !state.pending.isEmpty || !state.gone.isEmpty || state.owesState else { return nil }
        state.owesState = false
        var body: [UInt8] = []
        if state.pending.count > Self.manyResources { body.reserveCapacity(Self.responseBytes + (16 << 10)) }
        var removed: [UInt8] = []
        for id in state.pending {
            guard body.count < Self.responseBytes else { break }
            state.pending.remove(id)
            state.sent.insert(id)
            if let resource = resource(kind, id, for: state) {
                body += resource.deltaField
                expectEndpoints(of: resource, hasChanged: true)
            } else {
                removed.append(field: 6, tables[kind][id])
            }
        }
        for name in state.gone.sorted() { removed.append(field: 6, name) }
        state.gone = []
        state.sentVersion = ServedResource.version(lastNonce + 1)
        var head: [UInt8] = []
        head.append(field: 1, state.sentVersion)
        var tail: [UInt8] = []
        tail.append(field: 4, kind.typeURL)
        tail.append(field: 5, open(state))
        var server: [UInt8] = []
        server.append(field: 1, identifier)
        tail.append(field: 7, server)
        return Self.joined(head, body, tail + removed)
    }

    private static func joined(_ head: [UInt8], _ body: [UInt8], _ tail: [UInt8]) -> [UInt8] {
        var response: [UInt8] = []
        response.reserveCapacity(head.count + body.count + tail.count)
        response += head
        response += body
        response += tail
        return response
    }

    /// A cluster is used once its endpoints have come after it. Envoy asks for those of a new one; for those of one that changed it waits as
    /// well, up to its initial fetch time-out and without a word, since it has asked for them before, and answers for no cluster meanwhile.
    private func expectEndpoints(of cluster: ServedResource, hasChanged: Bool) {
        guard let name = cluster.endpoints, let id = tables[.clusterLoadAssignment].id(name),
            resource(.clusterLoadAssignment, id) != nil
        else { return }
        guard let state = kinds[.clusterLoadAssignment], state.wants(id) else {
            expected.insert(id)
            return
        }
        if hasChanged { state.pending.insert(id) }
    }

    /// A response is on its way. - Returns: Its nonce.
    private func open(_ state: KindState) -> String {
        lastNonce += 1
        state.nonce = lastNonce
        state.awaitsAnswer = true
        return Self.text(lastNonce)
    }

    // MARK: What it sees

    /// What it asks for of a kind, as far as it has ever been published; in rising order.
    func asked(_ kind: ResourceKind) -> NameSet {
        guard let state = kinds[kind] else { return NameSet() }
        guard state.isWildcard else { return state.names }
        var ids = visible(kind)
        for id in state.names { ids.insert(id) }
        return ids
    }

    func resource(_ kind: ResourceKind, _ id: Int) -> ServedResource? {
        for scope in scopes { if let resource = scope.resource(kind, id) { return resource } }
        return replacedResource(kind, id)
    }

    /// What the stream is told under a name, which of scopes on demand it has to have asked for.
    private func resource(_ kind: ResourceKind, _ id: Int, for state: KindState) -> ServedResource? {
        if state.names.contains(id) { return resource(kind, id) }
        guard state.isWildcard else { return nil }
        for scope in scopes[..<listed] { if let resource = scope.resource(kind, id) { return resource } }
        return replacedResource(kind, id)
    }

    private func replacedResource(_ kind: ResourceKind, _ id: Int) -> ServedResource? {
        guard !replaced.isEmpty, Self.outlast.contains(kind) else { return nil }
        for scope in replaced { if let resource = scope.resource(kind, id) { return resource } }
        return nil
    }

    private func visible(_ kind: ResourceKind) -> NameSet {
        var ids = NameSet()
        for scope in scopes[..<listed] + (Self.outlast.contains(kind) ? replaced : []) {
            for id in (scope.resources[kind] ?? [:]).keys { ids.insert(id) }
        }
        return ids
    }

    /// Of a whole state of the world: the same for the same resources, also after a restart.
    private func wholeVersion(_ kind: ResourceKind, _ state: KindState) -> String {
        var fingerprint: UInt64 = 0
        if state.isWildcard {
            for scope in scopes[..<listed] { fingerprint ^= scope.fingerprints[kind] ?? 0 }
            for id in state.names where listed < scopes.count {
                for scope in scopes[listed...] {
                    guard let resource = scope.resource(kind, id) else { continue }
                    fingerprint ^= ServedResource.hash(resource.name.utf8, from: resource.fingerprint)
                    break
                }
            }
            // Neither what it was nor what it will be.
            if !replaced.isEmpty, Self.outlast.contains(kind) { fingerprint = ~fingerprint }
        } else {
            for id in state.names {
                guard let resource = resource(kind, id) else { continue }
                fingerprint ^= ServedResource.hash(resource.name.utf8, from: resource.fingerprint)
            }
        }
        return ServedResource.version(fingerprint)
    }

    private static func text(_ nonce: UInt64) -> String { nonce == 0 ? "" : String(nonce) }
}

/// The names of all kinds, of everything that one server has published.
final class NameTables {
    private var tables: [ResourceKind: NameTable] = [:]

    subscript(kind: ResourceKind) -> NameTable {
        get { tables[kind] ?? NameTable() }
        _modify { yield &tables[kind, default: NameTable()] }
    }
}
