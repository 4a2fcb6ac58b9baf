import Bytes
import ClusterAPI
import JSON

/// What a Pod object asks of its node: every field that the node acts on, read once into values.
///
/// Reading is lenient where the API server validates; what would be dangerous to guess is an error (`PodSpecError`).
public struct PodSpec: Sendable, Equatable {
    public var identity: PodIdentity
    public var labels: [String: String]
    public var annotations: [String: String]
    public var nodeName: String
    public var hostname: String
    public var subdomain: String
    public var serviceAccountName: String
    public var restartPolicy: RestartPolicy
    public var initContainers: [ContainerSpec]
    public var containers: [ContainerSpec]
    public var volumes: [VolumeSpec]
    public var hostNetwork: Bool
    public var hostPID: Bool
    public var hostIPC: Bool
    public var dns: DNSSpec
    public var hostAliases: [HostAlias]
    public var security: PodSecurity
    public var enableServiceLinks: Bool
    public var priorityClassName: String
    /// Seconds; never negative.
    public var terminationGracePeriod: Int64
    /// Seconds from `status.startTime`; nil has no limit.
    public var activeDeadline: Int64?
    public var readinessGates: [String]
    public var qualityOfService: QualityOfService
    /// `metadata.generation`, echoed in the status; 0 when the server sets none.
    public var generation: Int64
    /// Set when deletion was asked for: how many seconds the pod may still take.
    public var deletion: Deletion?

    public struct Deletion: Sendable, Equatable {
        public var requestedAt: Timestamp
        public var gracePeriod: Int64
    }

    public struct HostAlias: Sendable, Equatable {
        public var address: String
        public var names: [String]
    }

    /// All containers that are restarted beside the others: init containers with restartPolicy Always (KEP-753).
    public var sidecars: [ContainerSpec] { initContainers.filter(\.isSidecar) }

    public func container(named name: String) -> ContainerSpec? {
        containers.first { $0.name == name } ?? initContainers.first { $0.name == name }
    }
}

/// Which pod: names are reused, the UID never is.
public struct PodIdentity: Sendable, Hashable {
    public var key: ObjectKey
    public var uid: String

    public init(key: ObjectKey, uid: String) {
        self.key = key
        self.uid = uid
    }

    public var namespace: String { key.namespace }
    public var name: String { key.name }
}

public enum RestartPolicy: String, Sendable {
    case always = "Always"
    case onFailure = "OnFailure"
    case never = "Never"

    /// Whether a container that ended with this code is started again.
    func restarts(afterExit code: Int32) -> Bool {
        switch self {
        case .always: true
        case .onFailure: code != 0
        case .never: false
        }
    }
}

public struct DNSSpec: Sendable, Equatable {
    public enum Policy: String, Sendable {
        case clusterFirst = "ClusterFirst"
        case clusterFirstWithHostNet = "ClusterFirstWithHostNet"
        case `default` = "Default"
        case none = "None"
    }
    public var policy: Policy = .clusterFirst
    public var nameservers: [String] = []
    public var searches: [String] = []
    /// `name:value` or `name`, as resolv.conf writes them.
    public var options: [String] = []
}

/// A field that makes a pod impossible to run here.
public struct PodSpecError: Error, Sendable, CustomStringConvertible {
    public var field: String
    public var reason: String
    public var description: String { "\(field): \(reason)" }
}

extension PodSpec {
    /// Reads a Pod object.
    ///
    /// - Throws: `PodSpecError` naming the field, when identity or a container's name is missing or unsafe as a file name.
    public init(pod: JSONValue) throws(PodSpecError) {
        let metadata = pod["metadata"] ?? [:]
        let spec = pod["spec"] ?? [:]
        let name = try Self.pathSafe(metadata["name"]?.string, "metadata.name")
        let namespace = try Self.pathSafe(metadata["namespace"]?.string, "metadata.namespace")
        let uid = try Self.pathSafe(metadata["uid"]?.string, "metadata.uid")
        identity = PodIdentity(key: ObjectKey(namespace: namespace, name: name), uid: uid)
        labels = metadata["labels"].strings
        annotations = metadata["annotations"].strings
        generation = metadata["generation"]?.int ?? 0
        nodeName = spec["nodeName"]?.string ?? ""
        hostname = spec["hostname"]?.string ?? ""
        subdomain = spec["subdomain"]?.string ?? ""
        serviceAccountName = spec["serviceAccountName"]?.string ?? "default"
        restartPolicy = spec["restartPolicy"]?.string.flatMap(RestartPolicy.init) ?? .always
        hostNetwork = spec["hostNetwork"]?.bool ?? false
        hostPID = spec["hostPID"]?.bool ?? false
        hostIPC = spec["hostIPC"]?.bool ?? false
        enableServiceLinks = spec["enableServiceLinks"]?.bool ?? true
        priorityClassName = spec["priorityClassName"]?.string ?? ""
        terminationGracePeriod = max(0, spec["terminationGracePeriodSeconds"]?.int ?? 30)
        activeDeadline = spec["activeDeadlineSeconds"]?.int
        readinessGates = spec["readinessGates"].elements.compactMap { $0["conditionType"]?.string }
        security = PodSecurity(json: spec["securityContext"] ?? [:])
        hostAliases = spec["hostAliases"].elements.map {
            HostAlias(address: $0["ip"]?.string ?? "", names: $0["hostnames"].elements.compactMap(\.string))
        }
        let config = spec["dnsConfig"]
        dns = DNSSpec(
            policy: spec["dnsPolicy"]?.string.flatMap(DNSSpec.Policy.init) ?? .clusterFirst,
            nameservers: config?["nameservers"].elements.compactMap(\.string) ?? [],
            searches: config?["searches"].elements.compactMap(\.string) ?? [],
            options: config?["options"].elements.compactMap { option in
                option["name"]?.string.map { name in option["value"]?.string.map { "\(name):\($0)" } ?? name }
            } ?? [])
        var containers: [ContainerSpec] = []
        for json in spec["containers"].elements { containers.append(try ContainerSpec(json: json, isInit: false)) }
        var initContainers: [ContainerSpec] = []
        for json in spec["initContainers"].elements {
            initContainers.append(try ContainerSpec(json: json, isInit: true))
        }
        guard !containers.isEmpty else { throw PodSpecError(field: "spec.containers", reason: "must not be empty") }
        self.containers = containers
        self.initContainers = initContainers
        var volumes: [VolumeSpec] = []
        for json in spec["volumes"].elements { volumes.append(try VolumeSpec(json: json)) }
        self.volumes = volumes
        qualityOfService = QualityOfService(containers: initContainers + containers)
        deletion = metadata["deletionTimestamp"]?.string.flatMap { Timestamp(rfc3339: $0) }.map { due in
            // The server writes the moment at which the grace period is over.
            let grace = max(0, metadata["deletionGracePeriodSeconds"]?.int ?? 30)
            return Deletion(requestedAt: due.adding(seconds: -grace), gracePeriod: grace)
        }
    }

    /// Names become parts of paths on this node: nothing that climbs or separates may pass, whatever the server allowed.
    static func pathSafe(_ text: String?, _ field: String) throws(PodSpecError) -> String {
        guard let text, !text.isEmpty else { throw PodSpecError(field: field, reason: "is missing") }
        guard text.utf8.count <= 253, text != ".", text != "..", !text.utf8.contains(where: { $0 == 0x2F || $0 < 0x21 })
        else { throw PodSpecError(field: field, reason: "\"\(text)\" cannot be part of a path") }
        return text
    }
}

extension Optional where Wrapped == JSONValue {
    /// The elements of an array; none when the field is absent or something else.
    var elements: [JSONValue] { self?.array ?? [] }

    /// The string members of an object.
    var strings: [String: String] {
        guard let object = self?.object else { return [:] }
        var result: [String: String] = [:]
        for (key, value) in object { if let text = value.string { result[key] = text } }
        return result
    }
}
