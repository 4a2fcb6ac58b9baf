import Bytes
import ClusterAPI
import DNSMessage

/// Turns changes of Services, EndpointSlices and Namespaces into the next zone. Cost follows the change.
struct ZoneBuilder {
    private(set) var zone: ClusterZone
    private var services: [ObjectKey: ServiceEntry] = [:]
    private var slices: [ObjectKey: [ObjectKey: SliceEntry]] = [:]
    private var sliceOwner: [ObjectKey: ObjectKey] = [:]
    private var namespaces: Set<String> = []
    /// What each owner brings, and who brings something to a name.
    private var contributions: [ObjectKey: [DNSName: ZoneNode.Content]] = [:]
    private var owners: [DNSName: Set<ObjectKey>] = [:]
    /// Services whose records are out of date.
    private var stale: Set<ObjectKey> = []
    private var changed: Set<DNSName> = []

    init(_ options: ClusterZoneOptions) {
        zone = ClusterZone(options: options, serial: 0)
        contribute(ObjectKey(name: "zone"), Self.fixedNames(options))
    }

    mutating func set(_ service: ServiceEntry) {
        guard isServed(service.key.namespace), services[service.key] != service else { return }
        services[service.key] = service
        stale.insert(service.key)
    }

    mutating func removeService(_ key: ObjectKey) {
        if services.removeValue(forKey: key) != nil { stale.insert(key) }
    }

    mutating func set(_ slice: SliceEntry) {
        if let before = sliceOwner[slice.key], before != slice.service { removeSlice(slice.key) }
        guard let service = slice.service, isServed(service.namespace) else { return }
        guard slices[service]?[slice.key] != slice else { return }
        sliceOwner[slice.key] = service
        slices[service, default: [:]][slice.key] = slice
        stale.insert(service)
    }

    mutating func removeSlice(_ key: ObjectKey) {
        guard let service = sliceOwner.removeValue(forKey: key) else { return }
        slices[service]?[key] = nil
        if slices[service]?.isEmpty == true { slices[service] = nil }
        stale.insert(service)
    }

    mutating func setNamespace(_ name: String, exists: Bool) {
        guard isServed(name), exists != namespaces.contains(name) else { return }
        if exists { namespaces.insert(name) } else { namespaces.remove(name) }
        var names: [DNSName: ZoneNode.Content] = [:]
        if exists, let primary = zone.options.primary {
            for branch in ["svc", "pod"] {
                if let name = primary.prefixed(by: name, branch) { names[name] = .empty }
            }
        }
        contribute(ObjectKey(name: "namespace/\(name)"), names)
    }

    mutating func markComplete() { zone.isComplete = true }

    /// Builds the next zone from all that changed since the last call.
    ///
    /// - Parameter now: becomes the zone's serial when a name changed.
    /// - Returns: whether a name changed.
    mutating func build(now: Timestamp) -> Bool {
        for key in stale {
            guard let service = services[key] else {
                contribute(key, [:])
                continue
            }
            let entries = (slices[key] ?? [:]).sorted { $0.key < $1.key }.map(\.value)
            contribute(key, serviceRecords(service, entries, zone.options))
        }
        stale.removeAll(keepingCapacity: true)
        guard !changed.isEmpty else { return false }
        zone.names.update(changed.map { ($0, node($0)) })
        changed.removeAll(keepingCapacity: true)
        zone.serial = UInt32(truncatingIfNeeded: now.seconds)
        return true
    }

    private func isServed(_ namespace: String) -> Bool {
        zone.options.namespaces.isEmpty || zone.options.namespaces.contains(namespace)
    }

    private mutating func contribute(_ owner: ObjectKey, _ contents: [DNSName: ZoneNode.Content]) {
        let before = contributions[owner] ?? [:]
        guard before != contents else { return }
        for name in before.keys where contents[name] == nil {
            owners[name]?.remove(owner)
            if owners[name]?.isEmpty == true { owners[name] = nil }
            changed.insert(name)
        }
        for (name, content) in contents where before[name] != content {
            owners[name, default: []].insert(owner)
            changed.insert(name)
        }
        contributions[owner] = contents.isEmpty ? nil : contents
    }

    private func node(_ name: DNSName) -> ZoneNode? {
        guard let owners = owners[name] else { return nil }
        var merged = ZoneNode.Content()
        for owner in owners.sorted() { if let content = contributions[owner]?[name] { merged.merge(content) } }
        return ZoneNode(merged)
    }

    /// Names that are there whatever the cluster holds: the zone's top, its branches, its version, its name server.
    private static func fixedNames(_ options: ClusterZoneOptions) -> [DNSName: ZoneNode.Content] {
        var names: [DNSName: ZoneNode.Content] = [:]
        for zone in options.zones { names[zone] = .empty }
        guard let primary = options.primary else { return names }
        for branch in ["svc", "pod", "dns"] {
            if let name = primary.prefixed(by: branch) { names[name] = .empty }
        }
        if let nameServer = primary.prefixed(by: "ns", "dns") {
            names[primary, default: .empty].records[.ns, default: .init()].answers.append(
                .ns, ttl: options.ttl, data: nameServer.wire)
        }
        if let version = primary.prefixed(by: "dns-version") {
            let text = Array("1.1.0".utf8)
            names[version, default: .empty].records[.txt, default: .init()].answers.append(
                .txt, ttl: 28800, data: [UInt8(text.count)] + text)
        }
        return names
    }
}
