import Bytes
import Delta
import Netlink

/// The ways from this node to all pods, here and elsewhere: desired from what is known of nodes, actual from the kernel, and the
/// difference applied in one send.
///
/// Blocking and single-threaded; lives on the daemon's loop. Cost goes with what changed, not with the number of nodes.
final class ClusterPaths {
    private let connection: RouteConnection
    private let tunnel: TunnelDevice?
    private var tracker = DeltaTracker<PathKey, Path>()
    private var nodes: [String: NodeNetwork] = [:]
    /// What each node and pod contributed, to know what to take back.
    private var contributions: [String: [PathKey: Path]] = [:]
    /// Host ends of pods' links.
    private var podDevices: Set<InterfaceIndex> = []
    private(set) var here: Vantage
    /// The kernel drops what leads over a link that goes down, without a word about each.
    private var isStale = false
    /// Whether all nodes have been told of once. Before that, what stands and is not desired may well be right.
    private var knowsAll = false

    /// Finds or makes the tunnel device (with the VXLAN back end) and reads what stands. Nothing that is right is touched.
    init(node: String, backend: Backend, underlay: InterfaceIndex, tunnel: TunnelDevice?) throws {
        connection = try RouteConnection()
        self.tunnel = tunnel
        here = Vantage(
            node: node, backend: backend, underlay: underlay, tunnel: nil, vni: tunnel?.vni ?? TunnelDevice.defaultVNI)
        try ensureTunnel()
        try readActual()
    }

    /// Makes the tunnel device unless it stands; a device of its name that would carry packets otherwise is replaced.
    private func ensureTunnel() throws {
        guard let tunnel else { return }
        if let link = try connection.link(named: tunnel.name) {
            if tunnel.matches(link) {
                if !link.isUp || link.mtu != tunnel.mtu {
                    try connection.perform([.change(link.index, LinkChange(isUp: true, mtu: tunnel.mtu))])
                }
                here.tunnel = link.index
                return
            }
            try connection.perform([.delete(link: link.index)])
        }
        let made = try connection.perform([.create(tunnel.spec), .get(linkNamed: tunnel.name)])
        guard let index = made.links.first?.index else { throw PodNetworkError.vanished(tunnel.name) }
        HostSettings.applyToTunnel(tunnel.name)
        here.tunnel = index
    }

    /// The kernel's state is read whole: at start, after a link was down, and when notifications were lost.
    private func readActual() throws {
        var actual: [PathKey: Path] = [:]
        for route in try connection.routes(origin: .weft) {
            actual[.route(route.destination)] = Path(route)
        }
        if let device = here.tunnel {
            for address in try connection.addresses(on: device) where isOurs(address) {
                actual[.address(address.address.address)] = .address(device: device)
            }
            for neighbour in try connection.neighbours(on: device) where neighbour.state.contains(.permanent) {
                guard let mac = neighbour.hardwareAddress, !mac.isMulticast else { continue }
                actual[.neighbour(neighbour.address)] = .neighbour(mac, device: device)
            }
            for entry in try connection.forwardingEntries(on: device) where entry.state.contains(.permanent) {
                guard let remote = entry.remote else { continue }
                actual[.forwarding(entry.hardwareAddress)] = .forwarding(to: remote, device: device)
            }
        }
        tracker.observeAll(actual.map { ($0.key, $0.value) })
        isStale = false
    }

    // MARK: Desired

    /// All nodes of the cluster as they are now.
    func setNodes(_ all: [NodeNetwork]) {
        let names = Set(all.map(\.name))
        for gone in nodes.keys where !names.contains(gone) { remove(node: gone) }
        for node in all where nodes[node.name] != node { set(node) }
        knowsAll = true
    }

    func set(_ node: NodeNetwork) {
        nodes[node.name] = node
        contribute(paths(to: node, from: here), as: node.name)
    }

    func remove(node name: String) {
        nodes[name] = nil
        contribute([:], as: name)
    }

    /// A pod of this node, by the host end of its link.
    func set(pod id: AttachmentID, addresses: [IPAddress], device: InterfaceIndex) {
        podDevices.insert(device)
        let found = addresses.map { (PathKey.route(CIDR(host: $0)), Path.pod(device: device)) }
        contribute(Dictionary(found, uniquingKeysWith: { first, _ in first }), as: Self.owner(id))
    }

    func remove(pod id: AttachmentID) {
        for case .pod(let device) in (contributions[Self.owner(id)] ?? [:]).values { podDevices.remove(device) }
        contribute([:], as: Self.owner(id))
    }

    /// An attachment's text has a slash, which node names have not.
    private static func owner(_ id: AttachmentID) -> String { id.description }

    private func contribute(_ paths: [PathKey: Path], as owner: String) {
        let before = contributions[owner] ?? [:]
        contributions[owner] = paths.isEmpty ? nil : paths
        for key in before.keys where paths[key] == nil { tracker.abandon(key) }
        for (key, path) in paths where before[key] != path { tracker.desire(key, path) }
    }

    // MARK: Actual

    /// Whether the kernel says what is desired, as far as is known.
    var isInStep: Bool { !isStale && (tunnel == nil || here.tunnel != nil) && dueChanges.isEmpty }

    private var dueChanges: [DeltaTracker<PathKey, Path>.Change] {
        tracker.isSettled ? [] : tracker.changes.filter { knowsAll || !$0.isRemoval }
    }

    /// A pod's route that was just set by other hands of ours; the kernel's own word about it follows.
    func assume(pod entry: PodLinks.Entry) {
        guard let device = entry.device else { return }
        for address in entry.attachment.addresses {
            tracker.observe(.route(CIDR(host: address)), .pod(device: device))
        }
    }

    /// Notifications were lost.
    func markStale() { isStale = true }

    /// Takes in what the kernel says happened.
    func observe(_ event: RouteEvent) {
        switch event {
        case .route(let route) where isOurs(route):
            tracker.observe(.route(route.destination), Path(route))
        case .route(let route) where displacesOurs(route):
            tracker.observe(.route(route.destination), nil)
        case .routeGone(let route) where isOurs(route):
            tracker.observe(.route(route.destination), nil)
        case .address(let address) where isOurs(address):
            tracker.observe(.address(address.address.address), .address(device: address.device))
        case .addressGone(let address) where isWatched(address.device):
            if isOurs(address) { tracker.observe(.address(address.address.address), nil) }
            // With a link's last address the kernel drops all that leads over it, again without a word.
            isStale = true
        case .neighbour(let neighbour) where neighbour.device == here.tunnel:
            if neighbour.state.contains(.permanent), let mac = neighbour.hardwareAddress {
                tracker.observe(.neighbour(neighbour.address), .neighbour(mac, device: neighbour.device))
            } else {
                tracker.observe(.neighbour(neighbour.address), nil)
            }
        case .neighbourGone(let neighbour) where neighbour.device == here.tunnel:
            tracker.observe(.neighbour(neighbour.address), nil)
        case .forwarding(let entry) where entry.device == here.tunnel:
            guard let remote = entry.remote else { return }
            tracker.observe(.forwarding(entry.hardwareAddress), .forwarding(to: remote, device: entry.device))
        case .forwardingGone(let entry) where entry.device == here.tunnel:
            tracker.observe(.forwarding(entry.hardwareAddress), nil)
        case .linkGone(let link) where link.index == here.tunnel:
            here.tunnel = nil
        case .link(let link) where !link.isUp && isWatched(link.index):
            isStale = true
        default: break
        }
    }

    private func isOurs(_ route: Route) -> Bool { route.origin == .weft && route.table == .main }

    /// `ip route replace` by someone else: the kernel tells of the new route, and not that ours went. (One of another metric
    /// stands beside ours and changes nothing.)
    private func displacesOurs(_ route: Route) -> Bool {
        route.origin != .weft && route.table == .main && (route.priority ?? 0) == 0
            && tracker.actual(.route(route.destination)) != nil
    }

    private func isOurs(_ address: InterfaceAddress) -> Bool {
        address.device == here.tunnel && !address.address.address.isLinkLocal
    }

    private func isWatched(_ device: InterfaceIndex) -> Bool {
        device == here.tunnel || device == here.underlay || podDevices.contains(device)
    }

    // MARK: Change

    /// Makes the kernel say what is desired. Gives what could not be done; that stays pending, and the next call tries again.
    func apply() -> [PathFailure] {
        do { try restoreLinks() } catch { return [PathFailure(subject: "links", reason: "\(error)")] }
        let changes = dueChanges.sorted { $0.rank < $1.rank }
        var failures: [PathFailure] = []
        for start in stride(from: 0, to: changes.count, by: Self.requestsPerSend) {
            let part = changes[start..<min(start + Self.requestsPerSend, changes.count)]
            do {
                for (change, result) in zip(part, try connection.results(part.map(\.request))) {
                    switch result {
                    case .success: tracker.confirm(change)
                    case .failure(let error) where change.isRemoval && error.isAbsence: tracker.confirm(change)
                    case .failure(let error):
                        failures.append(PathFailure(subject: change.request.subject, reason: "\(error)"))
                    }
                }
            } catch { failures.append(PathFailure(subject: "netlink", reason: "\(error)")) }
        }
        return failures
    }

    /// One send takes this many requests: enough to make the system call cheap, few enough for any socket's buffer.
    static let requestsPerSend = 100

    /// Links that someone deleted or took down come back, and what the kernel dropped with them is found missing.
    private func restoreLinks() throws {
        let before = here.tunnel
        guard isStale || (tunnel != nil && before == nil) else { return }
        try ensureTunnel()
        if here.tunnel != before {
            for node in nodes.values { contribute(paths(to: node, from: here), as: node.name) }
        }
        for link in try connection.links() where !link.isUp && podDevices.contains(link.index) {
            try connection.perform([.change(link.index, LinkChange(isUp: true))])
        }
        try readActual()
    }
}

/// Something that the kernel refused, in words.
struct PathFailure: Hashable, Sendable {
    var subject: String
    var reason: String
}

extension DeltaTracker<PathKey, Path>.Change {
    fileprivate var isRemoval: Bool { if case .remove = self { true } else { false } }

    /// What leads somewhere is made last and removed first.
    fileprivate var rank: Int { isRemoval ? -1 - key.rank : key.rank }

    fileprivate var request: NetlinkRequest {
        switch self {
        case .add(let key, let path), .replace(let key, _, let path): path.request(key, remove: false)
        case .remove(let key, let path): path.request(key, remove: true)
        }
    }
}

extension Path {
    fileprivate func request(_ key: PathKey, remove: Bool) -> NetlinkRequest {
        switch (key, self) {
        case (.address(let address), .address(let device)):
            let held = InterfaceAddress(device: device, address: CIDR(host: address))
            return remove ? .delete(held) : .add(held, existing: .replace)
        case (.neighbour(let address), .neighbour(let mac, let device)):
            let neighbour = Neighbour(device: device, address: address, hardwareAddress: mac)
            return remove ? .delete(neighbour) : .add(neighbour)
        case (.forwarding(let mac), .forwarding(let remote, let device)):
            let entry = ForwardingEntry(device: device, hardwareAddress: mac, remote: remote)
            return remove ? .delete(entry) : .add(entry)
        case (.route(let destination), _):
            if let route = Route(destination, self) { return remove ? .delete(route) : .add(route) }
        default: break
        }
        preconditionFailure("a path of another sort than its key: \(key)")
    }
}
