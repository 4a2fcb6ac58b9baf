/// A resource as requests name it: API group ("" is core), version, and lower-case plural.
public struct GroupVersionResource: Hashable, Sendable, CustomStringConvertible {
    public var group: String
    public var version: String
    public var resource: String

    public init(group: String = "", version: String = "v1", resource: String) {
        self.group = group
        self.version = version
        self.resource = resource
    }

    /// `apps/v1` or, for the core group, `v1`: the text of an object's `apiVersion`.
    public var apiVersion: String { group.isEmpty ? version : "\(group)/\(version)" }

    /// `deployments.apps`, or `pods`: how Kubernetes names the resource in messages.
    public var groupResource: String { group.isEmpty ? resource : "\(resource).\(group)" }

    public var description: String { "\(apiVersion)/\(resource)" }

    public static let bindings = Self(resource: "bindings")
    public static let configMaps = Self(resource: "configmaps")
    public static let endpoints = Self(resource: "endpoints")
    public static let events = Self(resource: "events")
    public static let namespaces = Self(resource: "namespaces")
    public static let nodes = Self(resource: "nodes")
    public static let pods = Self(resource: "pods")
    public static let secrets = Self(resource: "secrets")
    public static let serviceAccounts = Self(resource: "serviceaccounts")
    public static let services = Self(resource: "services")
    public static let daemonSets = Self(group: "apps", resource: "daemonsets")
    public static let deployments = Self(group: "apps", resource: "deployments")
    public static let replicaSets = Self(group: "apps", resource: "replicasets")
    public static let statefulSets = Self(group: "apps", resource: "statefulsets")
    public static let endpointSlices = Self(group: "discovery.k8s.io", resource: "endpointslices")
    public static let leases = Self(group: "coordination.k8s.io", resource: "leases")
    public static let networkPolicies = Self(group: "networking.k8s.io", resource: "networkpolicies")
    public static let serviceCIDRs = Self(group: "networking.k8s.io", resource: "servicecidrs")
    public static let priorityClasses = Self(group: "scheduling.k8s.io", resource: "priorityclasses")
}

/// A kind as object bodies name it.
public struct GroupVersionKind: Hashable, Sendable, CustomStringConvertible {
    public var group: String
    public var version: String
    public var kind: String

    public init(group: String = "", version: String = "v1", kind: String) {
        self.group = group
        self.version = version
        self.kind = kind
    }

    /// From an object's `apiVersion` and `kind`; nil when `apiVersion` has more than one slash or either is empty.
    public init?(apiVersion: String, kind: String) {
        // By bytes: this runs for every object that is decoded.
        let text = apiVersion.utf8
        let slash = text.firstIndex(of: UInt8(ascii: "/"))
        let version = slash.map { apiVersion[text.index(after: $0)...] } ?? apiVersion[...]
        guard !kind.isEmpty, !version.isEmpty, !version.utf8.contains(UInt8(ascii: "/")) else { return nil }
        self.init(group: slash.map { String(apiVersion[..<$0]) } ?? "", version: String(version), kind: kind)
    }

    /// The text of an object's `apiVersion`.
    public var apiVersion: String { group.isEmpty ? version : "\(group)/\(version)" }

    public var description: String { "\(apiVersion), Kind=\(kind)" }
}
