import JSON

/// One API group with its versions, preferred first.
struct ServedGroup {
    var name: String
    var versions: [ServedVersion]

    /// The groups of these resources in the order that clients resolve ambiguous names by.
    static func all(of resources: [ResourceDescription]) -> [ServedGroup] {
        Dictionary(grouping: resources, by: \.gvr.group).map { name, members in
            let versions = Dictionary(grouping: members, by: \.gvr.version).map {
                ServedVersion(name: $0, resources: $1.sorted { $0.gvr.resource < $1.gvr.resource })
            }
            return ServedGroup(
                name: name, versions: versions.sorted { APIVersionOrder($0.name) < APIVersionOrder($1.name) })
        }.sorted { (rank($0.name), $0.name) < (rank($1.name), $1.name) }
    }

    /// kubectl takes the first group that knows a name, so the order is part of the interface.
    private static let order = [
        "", "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io",
        "autoscaling", "batch", "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io",
        "storage.k8s.io", "admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io",
        "coordination.k8s.io", "node.k8s.io", "discovery.k8s.io", "resource.k8s.io", "flowcontrol.apiserver.k8s.io",
        "internal.apiserver.k8s.io", "storagemigration.k8s.io",
    ]

    private static func rank(_ name: String) -> Int { order.firstIndex(of: name) ?? order.count }

    var legacy: JSONObject {
        let versions = versions.map { version -> JSONValue in
            ["groupVersion": .string("\(name)/\(version.name)"), "version": .string(version.name)]
        }
        return ["name": .string(name), "versions": .array(versions), "preferredVersion": versions.first ?? .null]
    }

    var aggregated: JSONValue {
        [
            "metadata": name.isEmpty ? [:] : ["name": .string(name)],
            "versions": .array(versions.map(\.aggregated)),
        ]
    }
}

/// One version of a group with its resources, by name.
struct ServedVersion {
    var name: String
    var resources: [ResourceDescription]

    func path(in group: String) -> String { group.isEmpty ? "/api/\(name)" : "/apis/\(group)/\(name)" }

    func legacy(group: String) -> JSONValue {
        var entries: [JSONValue] = []
        for resource in resources {
            var entry = resource.names
            entry["name"] = .string(resource.gvr.resource)
            entry["singularName"] = .string(resource.singular)
            entry["namespaced"] = .bool(resource.namespaced)
            entry["kind"] = .string(resource.gvk.kind)
            entry["verbs"] = .array(resource.verbs.map { .string($0) })
            entries.append(.object(entry))
            for subresource in resource.served {
                var entry: JSONObject = [
                    "name": .string("\(resource.gvr.resource)/\(subresource.name)"), "singularName": "",
                    "namespaced": .bool(resource.namespaced), "kind": .string(subresource.kind.kind),
                    "verbs": .array(subresource.verbs.map { .string($0) }),
                ]
                // Left out where it is the parent's own group and version.
                if subresource.kind.apiVersion != resource.gvk.apiVersion {
                    if !subresource.kind.group.isEmpty { entry["group"] = .string(subresource.kind.group) }
                    entry["version"] = .string(subresource.kind.version)
                }
                entries.append(.object(entry))
            }
        }
        return [
            "kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": .string(group.isEmpty ? name : "\(group)/\(name)"), "resources": .array(entries),
        ]
    }

    var aggregated: JSONValue {
        let entries = resources.map { resource -> JSONValue in
            var entry = resource.names
            entry["resource"] = .string(resource.gvr.resource)
            entry["responseKind"] = resource.gvk.json
            entry["scope"] = .string(resource.namespaced ? "Namespaced" : "Cluster")
            entry["singularResource"] = .string(resource.singular)
            entry["verbs"] = .array(resource.verbs.map { .string($0) })
            let subresources = resource.served.map { subresource -> JSONValue in
                [
                    "subresource": .string(subresource.name), "responseKind": subresource.kind.json,
                    "verbs": .array(subresource.verbs.map { .string($0) }),
                ]
            }
            if !subresources.isEmpty { entry["subresources"] = .array(subresources) }
            return .object(entry)
        }
        return ["version": .string(name), "resources": .array(entries), "freshness": "Current"]
    }
}

/// Versions by stability, then number, newest first: v2, v1, v2beta1, v1beta2, v1alpha1, then anything else by name.
struct APIVersionOrder: Comparable {
    private var stability = 3
    private var major = 0
    private var minor = 0
    private var name: String

    init(_ name: String) {
        self.name = name
        guard name.first == "v" else { return }
        let digits = name.dropFirst().prefix { $0.isASCII && $0.isNumber }
        guard let major = Int(digits) else { return }
        let rest = name.dropFirst(1 + digits.count)
        if rest.isEmpty {
            (stability, self.major) = (0, major)
        } else if rest.hasPrefix("beta"), let minor = Int(rest.dropFirst(4)) {
            (stability, self.major, self.minor) = (1, major, minor)
        } else if rest.hasPrefix("alpha"), let minor = Int(rest.dropFirst(5)) {
            (stability, self.major, self.minor) = (2, major, minor)
        }
    }

    static func < (a: Self, b: Self) -> Bool {
        (a.stability, -a.major, -a.minor, a.name) < (b.stability, -b.major, -b.minor, b.name)
    }
}

extension ResourceDescription {
    fileprivate var names: JSONObject {
        var entry = JSONObject()
        if !shortNames.isEmpty { entry["shortNames"] = .array(shortNames.map { .string($0) }) }
        if !categories.isEmpty { entry["categories"] = .array(categories.map { .string($0) }) }
        return entry
    }
}

extension GroupVersionKind {
    var json: JSONValue { ["group": .string(group), "version": .string(version), "kind": .string(kind)] }
}
