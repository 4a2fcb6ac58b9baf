/// A container's environment, from everything that may contribute to it.
///
/// Pure: the objects that `env` and `envFrom` refer to are looked up through closures.
public struct EnvironmentBuilder {
    public var pod: PodSpec
    public var container: ContainerSpec
    public var facts: PodFacts
    public var nodeCapacity: ResourceRequirements.Amounts
    /// `{SVC}_SERVICE_HOST` and kin, weakest of all.
    public var serviceVariables: [(name: String, value: String)]
    /// The object's data as text by key; nil when the object does not exist.
    public var configMap: (String) -> [String: String]?
    public var secret: (String) -> [String: String]?

    /// What the environment refers to and does not exist, or what the field path does not name.
    public struct Missing: Error, Equatable, CustomStringConvertible {
        public var description: String
    }

    /// Name and value in the order in which the kubelet sets them; a later value of the same name replaces an earlier one in place.
    public func build() throws(Missing) -> [(name: String, value: String)] {
        var result = OrderedEnvironment()
        for variable in serviceVariables { result.set(variable.name, variable.value) }
        for entry in container.envFrom {
            let data: [String: String]?
            let subject: String
            switch entry.source {
            case .configMap(let name): (data, subject) = (configMap(name), "configmap \"\(name)\"")
            case .secret(let name): (data, subject) = (secret(name), "secret \"\(name)\"")
            }
            guard let data else {
                if entry.optional { continue }
                throw Missing(description: "\(subject) not found")
            }
            for key in data.keys.sorted() where !key.utf8.contains(UInt8(ascii: "=")) {
                result.set(entry.prefix + key, data[key] ?? "")
            }
        }
        for entry in container.env {
            if let value = try value(of: entry, known: result) { result.set(entry.name, value) }
        }
        return result.entries
    }

    private func value(of entry: EnvironmentEntry, known: OrderedEnvironment) throws(Missing) -> String? {
        switch entry.source {
        case .value(let text): return Self.expand(text) { known[$0] }
        case .configMap(let name, let key, let optional):
            return try lookUp("configmap", name, key, optional, configMap(name), in: "ConfigMap")
        case .secret(let name, let key, let optional):
            return try lookUp("secret", name, key, optional, secret(name), in: "Secret")
        case .field(let path):
            guard let value = facts.field(path, of: pod) else {
                throw Missing(description: "field \"\(path)\" of the pod cannot be used in env \(entry.name)")
            }
            return value
        case .resource:
            guard let value = Self.resource(entry.source, of: pod, default: container, capacity: nodeCapacity) else {
                throw Missing(description: "resource field of env \(entry.name) does not exist")
            }
            return value
        }
    }

    private func lookUp(
        _ kind: String, _ name: String, _ key: String, _ optional: Bool, _ data: [String: String]?, in title: String
    ) throws(Missing) -> String? {
        if let value = data?[key] { return value }
        if optional { return nil }
        throw Missing(
            description: data == nil
                ? "\(kind) \"\(name)\" not found"
                : "couldn't find key \(key) in \(title) \(pod.identity.namespace)/\(name)")
    }

    /// `$(NAME)` becomes the variable's value, `$$` one dollar; a name that is not known stays as it is written.
    public static func expand(_ text: String, _ value: (String) -> String?) -> String {
        let bytes = Array(text.utf8)
        guard bytes.contains(UInt8(ascii: "$")) else { return text }
        var out: [UInt8] = []
        var i = 0
        while i < bytes.count {
            guard bytes[i] == UInt8(ascii: "$"), i + 1 < bytes.count else {
                out.append(bytes[i])
                i += 1
                continue
            }
            switch bytes[i + 1] {
            case UInt8(ascii: "$"):
                out.append(UInt8(ascii: "$"))
                i += 2
            case UInt8(ascii: "("):
                guard let end = bytes[(i + 2)...].firstIndex(of: UInt8(ascii: ")")) else {
                    out += bytes[i...]
                    return String(decoding: out, as: UTF8.self)
                }
                let name = String(decoding: bytes[(i + 2)..<end], as: UTF8.self)
                out += value(name).map { Array($0.utf8) } ?? Array(bytes[i...end])
                i = end + 1
            default:
                out.append(bytes[i])
                i += 1
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    /// A resourceFieldRef's value, divided and rounded up as the kubelet does; nil for a container or resource that is not there.
    static func resource(
        _ source: EnvironmentEntry.Source, of pod: PodSpec, default container: ContainerSpec?,
        capacity: ResourceRequirements.Amounts
    ) -> String? {
        guard case .resource(let name, let resource, let divisor) = source else { return nil }
        guard let container = name.isEmpty ? container : pod.container(named: name) else { return nil }
        // A limit that is not set means all that the node has.
        let limits = container.resources.limits
        let requests = container.resources.requests
        switch resource {
        case "limits.cpu": return divided(milli: limits.milliCPU ?? capacity.milliCPU ?? 0, by: divisor)
        case "requests.cpu": return divided(milli: requests.milliCPU ?? 0, by: divisor)
        case "limits.memory": return divided(bytes: limits.memory ?? capacity.memory ?? 0, by: divisor)
        case "requests.memory": return divided(bytes: requests.memory ?? 0, by: divisor)
        case "limits.ephemeral-storage":
            return divided(bytes: limits.ephemeralStorage ?? capacity.ephemeralStorage ?? 0, by: divisor)
        case "requests.ephemeral-storage": return divided(bytes: requests.ephemeralStorage ?? 0, by: divisor)
        default: return nil
        }
    }

    private static func divided(milli: Int64, by divisor: String) -> String {
        var step = ResourceRequirements.milli(.string(divisor)) ?? 0
        if step <= 0 { step = 1000 }
        return String(milli / step + (milli % step > 0 ? 1 : 0))
    }

    private static func divided(bytes: UInt64, by divisor: String) -> String {
        var step = ResourceRequirements.bytes(.string(divisor)) ?? 0
        if step == 0 { step = 1 }
        return String(bytes / step + (bytes % step > 0 ? 1 : 0))
    }
}

/// Variables in the order of their first setting.
struct OrderedEnvironment {
    private(set) var entries: [(name: String, value: String)] = []
    private var position: [String: Int] = [:]

    subscript(name: String) -> String? { position[name].map { entries[$0].value } }

    mutating func set(_ name: String, _ value: String) {
        if let at = position[name] {
            entries[at].value = value
        } else {
            position[name] = entries.count
            entries.append((name, value))
        }
    }
}
