import JSON

/// What `spec.securityContext` sets for all containers of a pod.
public struct PodSecurity: Sendable, Equatable {
    public var runAsUser: UInt32?
    public var runAsGroup: UInt32?
    public var runAsNonRoot: Bool?
    /// Group that owns volumes and that every container joins.
    public var fsGroup: UInt32?
    public var supplementalGroups: [UInt32]
    public var sysctls: [Sysctl]

    public struct Sysctl: Sendable, Equatable {
        public var name: String
        public var value: String
    }

    init(json: JSONValue) {
        runAsUser = json["runAsUser"].id
        runAsGroup = json["runAsGroup"].id
        runAsNonRoot = json["runAsNonRoot"]?.bool
        fsGroup = json["fsGroup"].id
        supplementalGroups = json["supplementalGroups"].elements.compactMap { Optional($0).id }
        sysctls = json["sysctls"].elements.compactMap { item in
            guard let name = item["name"]?.string, let value = item["value"]?.string else { return nil }
            return Sysctl(name: name, value: value)
        }
    }
}

/// What a container's own `securityContext` sets; it wins over the pod's.
public struct ContainerSecurity: Sendable, Equatable {
    public var runAsUser: UInt32?
    public var runAsGroup: UInt32?
    public var runAsNonRoot: Bool?
    public var readOnlyRootFilesystem: Bool
    public var privileged: Bool
    public var allowPrivilegeEscalation: Bool
    /// Without the `CAP_` prefix, upper case; `ALL` stands for all.
    public var addedCapabilities: [String]
    public var droppedCapabilities: [String]

    init(json: JSONValue) {
        runAsUser = json["runAsUser"].id
        runAsGroup = json["runAsGroup"].id
        runAsNonRoot = json["runAsNonRoot"]?.bool
        readOnlyRootFilesystem = json["readOnlyRootFilesystem"]?.bool ?? false
        privileged = json["privileged"]?.bool ?? false
        allowPrivilegeEscalation = json["allowPrivilegeEscalation"]?.bool ?? true
        addedCapabilities = json["capabilities"]?["add"].elements.compactMap(\.string) ?? []
        droppedCapabilities = json["capabilities"]?["drop"].elements.compactMap(\.string) ?? []
    }
}

extension Optional where Wrapped == JSONValue {
    /// A user or group id.
    fileprivate var id: UInt32? { self?.int.flatMap { UInt32(exactly: $0) } }
}
