import JSON
import XDS

/// A route configuration of a gateway in pieces, one a hostname, each encoded once: a route that changes costs its own hosts, and the
/// copying of the others.
struct HostTable {
    let name: String
    /// The routes for a hostname, "" being any.
    private(set) var routes: [String: Set<RouteKey>] = [:]
    /// Hostnames of listeners: there is a virtual host for each, though it may have no routes.
    private var reserved: Set<String> = []
    private var dirty: Set<String> = []
    /// What all of its requests mean to filters (`typed_per_filter_config`).
    var settings = JSONObject() {
        didSet { if settings != oldValue { isRedone = true } }
    }
    private var isRedone = false
    /// Virtual hosts, with tag and length, by hostname.
    private var hosts: [String: [UInt8]] = [:]
    /// The routes of a hostname that others of it leave no request to.
    private(set) var shadowed: [String: [RouteKey: RouteKey]] = [:]

    init(_ name: String) { self.name = name }

    var isDirty: Bool { !dirty.isEmpty || isRedone }

    /// A hostname for which there are no routes, unless some come: requests to it are not found.
    mutating func reserve(_ hostname: String) {
        reserved.insert(hostname)
        touch(hostname)
    }

    mutating func add(_ route: RouteKey, _ hostname: String) {
        routes[hostname, default: []].insert(route)
        touch(hostname)
    }

    mutating func remove(_ route: RouteKey, _ hostname: String) {
        routes.remove(route, from: hostname)
        touch(hostname)
    }

    /// Routes of a wildcard are for the names beneath it too, after their own.
    mutating func touch(_ hostname: String) {
        dirty.insert(hostname)
        guard hostname.isEmpty || hostname.hasPrefix("*.") else { return }
        for other in hosts.keys where Hostname.covers(hostname, other) { dirty.insert(other) }
    }

    /// The hostname's routes, most specific name first. What belongs to another listener is left out.
    private func tiers(_ hostname: String, _ owner: (String) -> Int?) -> [Set<RouteKey>] {
        let own = owner(hostname)
        var seen: Set<RouteKey> = []
        return Hostname.ladder(hostname).compactMap { step in
            guard let found = routes[step], owner(step) == own else { return nil }
            let new = found.subtracting(seen)
            seen.formUnion(new)
            return new.isEmpty ? nil : new
        }
    }

    /// Of routes that are for the same name because of their listener's: those that name it themselves come before those of its
    /// wildcards, and last the ones that name none.
    private static func tiers(_ routes: [MeshRoute], _ hostname: String) -> [[MeshRoute]] {
        let ladder = Hostname.ladder(hostname)
        let places = Dictionary(grouping: routes) { route in
            let names = Set(route.hostnames.map { $0.lowercased() })
            return ladder.firstIndex(where: names.contains) ?? ladder.count
        }
        return places.sorted { $0.key < $1.key }.map(\.value)
    }

    /// Writes anew what has changed.
    ///
    /// - Parameters:
    ///   - owner: The listener that a hostname belongs to.
    ///   - misdirected: Names of which another listener of the same port is in charge.
    mutating func update(
        _ translation: RouteTranslation, misdirected: Set<String>, owner: (String) -> Int?,
        route: (RouteKey) -> MeshRoute?
    ) throws(ConfigError) {
        for hostname in dirty {
            let isKept = routes[hostname] != nil || reserved.contains(hostname) || misdirected.contains(hostname)
            guard isKept else {
                hosts[hostname] = nil
                shadowed[hostname] = nil
                continue
            }
            var routes: [JSONValue]
            if misdirected.contains(hostname), self.routes[hostname] == nil {
                routes = [["match": ["prefix": "/"], "direct_response": ["status": 421], "name": "misdirected"]]
            } else {
                let tiers = tiers(hostname, owner).flatMap { Self.tiers($0.compactMap(route), hostname) }
                let table = translation.table(tiers)
                routes = table.routes
                shadowed[hostname] = table.shadowed.isEmpty ? nil : table.shadowed
            }
            let domain = Hostname.domain(hostname)
            let json: JSONValue = [
                "name": .string(domain), "domains": [.string(domain)], "routes": .array(routes),
            ]
            guard let type = Message(ResourceKind.virtualHost.rawValue)?.type else {
                preconditionFailure("no type of virtual hosts")
            }
            // virtual_hosts is field 2 of RouteConfiguration.
            hosts[hostname] = try Message.field(2, Message(json: json, type: type).binary())
        }
        dirty = []
        isRedone = false
    }

    /// The whole as a message.
    func message() throws(ConfigError) -> [UInt8] {
        var head: JSONObject = [
            "name": .string(name), "ignore_port_in_host_matching": true, "validate_clusters": false,
        ]
        if !settings.isEmpty { head["typed_per_filter_config"] = .object(settings) }
        var bytes = try Message.bytes(of: .routeConfiguration, .object(head))
        bytes.reserveCapacity(bytes.count + hosts.values.reduce(0) { $0 + $1.count })
        for hostname in hosts.keys.sorted() { bytes += hosts[hostname] ?? [] }
        return bytes
    }
}

extension Message {
    /// A message as a field of another.
    static func field(_ number: UInt8, _ message: [UInt8]) -> [UInt8] {
        precondition(number < 16, "field: the tag is one byte")
        var bytes: [UInt8] = [number << 3 | 2]
        var length = message.count
        while length > 0x7f {
            bytes.append(UInt8(length & 0x7f | 0x80))
            length >>= 7
        }
        bytes.append(UInt8(length))
        return bytes + message
    }
}
