import Bytes
import ClusterAPI
import Delta
import NodeTables

/// From policies, namespaces and pods to elements. Pure; what changed is planned by `plan`, in time proportional to the change.
///
/// Pods of this node have a profile for each direction in which a policy isolates them; all pods are of a class, whose number is
/// their identity; elements say on which ports a profile may speak with an identity. So a pod that comes is an element or two,
/// however many policies there are.
struct DesiredPolicies: Sendable {
    typealias Direction = NetworkPolicySpec.Direction

    let node: String
    var tracker = DeltaTracker<PolicyElementKey, PolicyElementValue>()

    private(set) var namespaces: [String: [String: String]] = [:]
    private var policies: [String: [ObjectKey: NetworkPolicySpec]] = [:]
    private var members: [ObjectKey: Member] = [:]
    private var localMembers: [String: Set<ObjectKey>] = [:]
    /// Who claims an address; the last one has it.
    private var owners: [IPAddress: [ObjectKey]] = [:]
    private var classNumbers: [PeerClass.Key: UInt32] = [:]
    private var classes: [UInt32: PeerClass] = [:]
    private var classesByNamespace: [String: Set<UInt32>] = [:]
    private var profileNumbers: [PolicyProfile.Key: UInt32] = [:]
    private var profiles: [UInt32: PolicyProfile] = [:]
    /// Policies that name labels which are left out of classes otherwise.
    private var incidentalUsers: Set<ObjectKey> = []

    private var dirtyPolicies: Set<ObjectKey> = []
    private var dirtyNamespaces: Set<String> = []
    private var dirtyMembers: Set<ObjectKey> = []
    private var touched: Set<IPAddress> = []

    private struct Member: Sendable {
        var pod: PolicyPod?
        /// What the pod network gave it here; nil where it was not asked.
        var attached: Set<IPAddress>?
        /// What the pod network took back, though the pod's object still tells of it.
        var released: Set<IPAddress> = []
        // What follows from these.
        var addresses: Set<IPAddress> = []
        var isLocal = false
        var peerClass: UInt32?
        var profiles: [Direction: UInt32] = [:]
    }

    init(node: String) { self.node = node }

    var policyCount: Int { policies.values.reduce(0) { $0 + $1.count } }
    var profileCount: Int { profiles.count }
    var identityCount: Int { classes.count }
    /// Pods of this node that some policy isolates.
    var isolatedCount: Int { localMembers.values.joined().count { members[$0]?.profiles.isEmpty == false } }
    var hasChanges: Bool {
        !dirtyPolicies.isEmpty || !dirtyNamespaces.isEmpty || !dirtyMembers.isEmpty || !tracker.isSettled
    }

    // MARK: What the cluster wants

    mutating func set(_ policy: NetworkPolicySpec) {
        guard policies[policy.key.namespace]?[policy.key] != policy else { return }
        policies[policy.key.namespace, default: [:]][policy.key] = policy
        dirtyPolicies.insert(policy.key)
    }

    mutating func removePolicy(_ key: ObjectKey) {
        guard policies[key.namespace]?.removeValue(forKey: key) != nil else { return }
        if policies[key.namespace]?.isEmpty == true { policies[key.namespace] = nil }
        dirtyPolicies.insert(key)
    }

    /// nil when it is gone.
    mutating func setNamespace(_ name: String, labels: [String: String]?) {
        guard namespaces[name] != labels else { return }
        namespaces[name] = labels
        dirtyNamespaces.insert(name)
    }

    mutating func set(_ pod: PolicyPod) {
        guard members[pod.key]?.pod != pod else { return }
        members[pod.key, default: Member()].pod = pod
        dirtyMembers.insert(pod.key)
    }

    mutating func removePod(_ key: ObjectKey) {
        guard members[key]?.pod != nil else { return }
        members[key]?.pod = nil
        members[key]?.released = []
        dirtyMembers.insert(key)
    }

    /// The pod network gives a pod of this node these addresses; until the pod is known, nothing is allowed it.
    mutating func attach(_ key: ObjectKey, _ addresses: [IPAddress]) {
        members[key, default: Member()].attached = Set(addresses)
        members[key]?.released.subtract(addresses)
        dirtyMembers.insert(key)
    }

    /// The pod network took a pod's addresses back.
    mutating func detach(_ key: ObjectKey, _ addresses: [IPAddress]) {
        guard var member = members[key] else { return }
        let left = member.attached?.subtracting(addresses) ?? []
        member.attached = left.isEmpty ? nil : left
        member.released.formUnion(addresses)
        members[key] = member
        dirtyMembers.insert(key)
    }

    func knows(_ key: ObjectKey) -> Bool { members[key]?.pod != nil }

    // MARK: Planning

    mutating func plan() {
        noteIncidentalLabels()
        var dirtyProfiles: Set<UInt32> = []
        for key in dirtyPolicies {
            for (number, profile) in profiles where profile.key.policies.contains(key) { dirtyProfiles.insert(number) }
        }
        var newClasses: Set<UInt32> = []
        var leftClasses: Set<UInt32> = []
        for key in dirtyMembers { settle(key, &newClasses, &leftClasses) }
        var subjects = dirtyMembers
        for namespace in Set(dirtyPolicies.map(\.namespace)) { subjects.formUnion(localMembers[namespace] ?? []) }
        var leftProfiles: Set<UInt32> = []
        for key in subjects { isolate(key, &dirtyProfiles, &leftProfiles) }
        for number in leftProfiles where profiles[number]?.members.isEmpty == true {
            dirtyProfiles.remove(number)
            forget(profile: number)
        }
        for number in dirtyProfiles { compile(number) }
        var changed = newClasses
        for namespace in dirtyNamespaces { changed.formUnion(classesByNamespace[namespace] ?? []) }
        let standing = changed.isEmpty ? [] : profiles.keys.filter { !dirtyProfiles.contains($0) }
        for peer in changed {
            for number in standing {
                if newClasses.contains(peer) || profiles[number]?.looksAtNamespaces == true { pair(number, peer) }
            }
        }
        for number in leftClasses where classes[number]?.members.isEmpty == true { forget(class: number) }
        for address in touched { write(address) }
        for key in dirtyMembers where members[key]?.pod == nil && members[key]?.attached == nil { members[key] = nil }
        (dirtyPolicies, dirtyNamespaces, dirtyMembers, touched) = ([], [], [], [])
    }

    /// Whether classes tell apart what controllers label; where that changes, every pod's class does.
    private mutating func noteIncidentalLabels() {
        let before = incidentalUsers.isEmpty
        for key in dirtyPolicies {
            let usesThem = policies[key.namespace]?[key]?.labelKeys.contains(where: PeerClass.Key.incidental.contains)
            if usesThem == true { incidentalUsers.insert(key) } else { incidentalUsers.remove(key) }
        }
        if incidentalUsers.isEmpty != before { dirtyMembers.formUnion(members.keys) }
    }

    /// A pod's addresses and class.
    private mutating func settle(_ key: ObjectKey, _ new: inout Set<UInt32>, _ left: inout Set<UInt32>) {
        guard var member = members[key] else { return }
        let told = Set(member.pod?.addresses ?? [])
        let addresses = member.attached ?? told.subtracting(member.released)
        for address in member.addresses.subtracting(addresses) {
            owners[address]?.removeAll { $0 == key }
            if owners[address]?.isEmpty == true { owners[address] = nil }
        }
        for address in addresses.subtracting(member.addresses) { owners[address, default: []].append(key) }
        touched.formUnion(addresses.union(member.addresses))
        member.addresses = addresses
        member.isLocal = !addresses.isEmpty && (member.attached != nil || member.pod?.node == node)
        if member.isLocal {
            localMembers[key.namespace, default: []].insert(key)
        } else if localMembers[key.namespace]?.remove(key) != nil, localMembers[key.namespace]?.isEmpty == true {
            localMembers[key.namespace] = nil
        }
        let classKey =
            addresses.isEmpty
            ? nil
            : member.pod.map {
                PeerClass.Key($0, keepingIncidental: !incidentalUsers.isEmpty)
            }
        let number = classKey.map { classNumber($0, &new) }
        if let former = member.peerClass, former != number {
            classes[former]?.members.remove(key)
            left.insert(former)
        }
        if let number { classes[number]?.members.insert(key) }
        member.peerClass = number
        members[key] = member
    }

    private mutating func classNumber(_ key: PeerClass.Key, _ new: inout Set<UInt32>) -> UInt32 {
        if let number = classNumbers[key] { return number }
        var number = key.number
        while classes[number] != nil { number = StableNumber.after(number) }
        classNumbers[key] = number
        classes[number] = PeerClass(key: key)
        classesByNamespace[key.namespace, default: []].insert(number)
        new.insert(number)
        return number
    }

    /// A pod's profiles.
    private mutating func isolate(_ key: ObjectKey, _ new: inout Set<UInt32>, _ left: inout Set<UInt32>) {
        guard let member = members[key] else { return }
        var wanted: [Direction: UInt32] = [:]
        if member.isLocal {
            if let pod = member.pod {
                let selecting = (policies[key.namespace] ?? [:]).values.filter { $0.pods.matches(pod.labels) }
                for direction in Direction.allCases {
                    let mine = selecting.filter { $0.rules(direction) != nil }
                    guard !mine.isEmpty else { continue }
                    var ports: [PolicyPod.NamedPort] = []
                    if direction == .ingress, !pod.ports.isEmpty {
                        let names = Set(mine.flatMap(\.namedIngressPorts))
                        ports = pod.ports.filter { names.contains($0.name) }
                    }
                    let profile = PolicyProfile.Key(
                        direction: direction, policies: mine.map(\.key).sorted(), ports: ports)
                    wanted[direction] = profileNumber(profile, &new)
                }
            } else {
                for direction in Direction.allCases { wanted[direction] = PolicyProfile.closed }
            }
        }
        guard wanted != member.profiles else { return }
        for (_, number) in member.profiles where !wanted.values.contains(number) {
            profiles[number]?.members.remove(key)
            left.insert(number)
        }
        for number in wanted.values { profiles[number]?.members.insert(key) }
        members[key]?.profiles = wanted
        touched.formUnion(member.addresses)
    }

    private mutating func profileNumber(_ key: PolicyProfile.Key, _ new: inout Set<UInt32>) -> UInt32 {
        if let number = profileNumbers[key] { return number }
        var number = key.number
        while profiles[number] != nil { number = StableNumber.after(number) }
        profileNumbers[key] = number
        profiles[number] = PolicyProfile(key)
        new.insert(number)
        return number
    }

    // MARK: What profiles allow

    private mutating func compile(_ number: UInt32) {
        guard var profile = profiles[number] else { return }
        let wasOpen = profile.isOpen
        let (formerStatics, formerPairs, formerGroups) = (profile.statics, profile.pairs, profile.groups)
        let all = policies[profile.key.policies.first?.namespace ?? ""] ?? [:]
        profile.compile(profile.key.policies.compactMap { all[$0] })
        // An open one has no members in the kernel, and needs nothing there.
        profile.statics = profile.isOpen ? [:] : statics(of: profile, number)
        for key in formerStatics.keys where profile.statics[key] == nil { tracker.abandon(key) }
        for (key, value) in profile.statics { tracker.desire(key, value) }
        profiles[number] = profile
        if profile.isOpen != wasOpen {
            for member in profile.members { touched.formUnion(members[member]?.addresses ?? []) }
        }
        // Where ranges are cut differently, all elements of pairs are others.
        if formerGroups != profile.groups {
            for peer in formerPairs.keys { setPair(number, peer, PortSet(), groups: formerGroups) }
        }
        var open = Set(formerPairs.keys)
        for peer in candidates(profile) {
            open.remove(peer)
            pair(number, peer)
        }
        for peer in open { setPair(number, peer, PortSet(), groups: profile.groups) }
    }

    /// Classes that a profile may name.
    private func candidates(_ profile: PolicyProfile) -> Set<UInt32> {
        var all: Set<UInt32> = []
        for rule in profile.podRules {
            guard let selector = rule.peer.namespaces else {
                all.formUnion(classesByNamespace[rule.namespace] ?? [])
                continue
            }
            for (namespace, classes) in classesByNamespace where selector.matches(labels(of: namespace)) {
                all.formUnion(classes)
            }
        }
        return all
    }

    private func labels(of namespace: String) -> [String: String] {
        // Every namespace has this label, though its object may not have been seen yet.
        namespaces[namespace] ?? ["kubernetes.io/metadata.name": namespace]
    }

    private mutating func pair(_ number: UInt32, _ peer: UInt32) {
        guard let profile = profiles[number], let key = classes[peer]?.key else { return }
        let ports =
            profile.isOpen ? PortSet() : profile.ports(for: key, namespaceLabels: labels(of: key.namespace))
        setPair(number, peer, ports, groups: profile.groups)
    }

    private mutating func setPair(_ number: UInt32, _ peer: UInt32, _ ports: PortSet, groups: PortGroups) {
        let former = profiles[number]?.pairs[peer] ?? PortSet()
        let isNew = former.isEmpty != ports.isEmpty
        guard former != ports else { return }
        let wanted = Self.elements(number, peer, ports, groups)
        for key in Self.elements(number, peer, former, groups).subtracting(wanted) { tracker.abandon(key) }
        for key in wanted { tracker.desire(key, .present) }
        profiles[number]?.pairs[peer] = ports.isEmpty ? nil : ports
        guard isNew else { return }
        let had = classes[peer]?.profiles.isEmpty ?? true
        if ports.isEmpty { classes[peer]?.profiles.remove(number) } else { classes[peer]?.profiles.insert(number) }
        if classes[peer]?.profiles.isEmpty != had {
            for member in classes[peer]?.members ?? [] { touched.formUnion(members[member]?.addresses ?? []) }
        }
    }

    private static func elements(_ profile: UInt32, _ peer: UInt32, _ ports: PortSet, _ groups: PortGroups)
        -> Set<PolicyElementKey>
    {
        if ports.isEverything { return [.peer(profile, peer)] }
        var keys = Set(ports.transports.map { PolicyElementKey.transport(profile, peer, $0) })
        for port in ports.ports { keys.insert(.port(profile, peer, port.transport, port.port)) }
        for group in groups.numbers(of: ports.ranges) { keys.insert(.group(profile, peer, group)) }
        return keys
    }

    private func statics(of profile: PolicyProfile, _ number: UInt32) -> [PolicyElementKey: PolicyElementValue] {
        var elements: [PolicyElementKey: PolicyElementValue] = [:]
        for piece in profile.groups.pieces {
            elements[.portGroup(number, piece)] = .number(PortGroups.number(piece))
        }
        for transport in profile.open.transports { elements[.openTransport(number, transport)] = .present }
        for port in profile.open.ports { elements[.openPort(number, port.transport, port.port)] = .present }
        for group in profile.groups.numbers(of: profile.open.ranges) {
            elements[.openGroup(number, group)] = .present
        }
        var numbers: [PortSet: UInt32] = [:]
        for piece in profile.blocks {
            let block = numbers[piece.ports] ?? PolicyProfile.firstBlock + UInt32(numbers.count)
            if numbers.updateValue(block, forKey: piece.ports) == nil {
                for key in Self.elements(number, block, piece.ports, profile.groups) { elements[key] = .present }
            }
            elements[.block(number, piece.addresses)] = .number(block)
        }
        return elements
    }

    // MARK: What is gone

    private mutating func forget(profile number: UInt32) {
        guard let profile = profiles[number] else { return }
        for peer in profile.pairs.keys { setPair(number, peer, PortSet(), groups: profile.groups) }
        for key in profile.statics.keys { tracker.abandon(key) }
        profiles[number] = nil
        profileNumbers[profile.key] = nil
    }

    private mutating func forget(class number: UInt32) {
        guard let peer = classes[number] else { return }
        for profile in peer.profiles {
            setPair(profile, number, PortSet(), groups: profiles[profile]?.groups ?? PortGroups([]))
        }
        classes[number] = nil
        classNumbers[peer.key] = nil
        classesByNamespace[peer.key.namespace]?.remove(number)
        if classesByNamespace[peer.key.namespace]?.isEmpty == true { classesByNamespace[peer.key.namespace] = nil }
    }

    // MARK: Addresses

    /// What packets of an address mean, by whoever has it.
    private mutating func write(_ address: IPAddress) {
        let owner = owners[address]?.last.flatMap { members[$0] }
        let identity = owner?.peerClass.flatMap { classes[$0]?.profiles.isEmpty == false ? $0 : nil }
        if let identity {
            tracker.desire(.identity(address), .number(identity))
        } else {
            tracker.abandon(.identity(address))
        }
        var isIsolated = false
        for direction in Direction.allCases {
            let profile = owner?.profiles[direction].flatMap { profiles[$0]?.isOpen == true ? nil : $0 }
            if let profile {
                tracker.desire(.profile(direction, address), .number(profile))
                isIsolated = true
            } else {
                tracker.abandon(.profile(direction, address))
            }
        }
        if isIsolated {
            tracker.desire(.loopback(address), .present)
        } else {
            tracker.abandon(.loopback(address))
        }
    }
}

extension NetworkPolicySpec {
    fileprivate var namedIngressPorts: [String] {
        (ingress ?? []).flatMap { $0.ports ?? [] }.compactMap {
            if case .named(let name) = $0.target { name } else { nil }
        }
    }

    /// Labels of pods that it looks at.
    fileprivate var labelKeys: Set<String> {
        var keys = Set(pods.requirements.map(\.key))
        for rule in (ingress ?? []) + (egress ?? []) {
            for case .pods(let peer) in rule.peers ?? [] { keys.formUnion(peer.pods.requirements.map(\.key)) }
        }
        return keys
    }
}
