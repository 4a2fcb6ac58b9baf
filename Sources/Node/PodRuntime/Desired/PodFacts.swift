/// What only the node knows of a running pod, for fields that refer to it.
public struct PodFacts: Sendable, Equatable {
    /// Empty until the sandbox stands.
    public var podIPs: [String]
    public var hostIPs: [String]
    public var nodeName: String

    public init(podIPs: [String] = [], hostIPs: [String] = [], nodeName: String = "") {
        self.podIPs = podIPs
        self.hostIPs = hostIPs
        self.nodeName = nodeName
    }

    /// The value of a fieldRef path; nil when pods have no such field.
    public func field(_ path: String, of pod: PodSpec) -> String? {
        switch path {
        case "metadata.name": return pod.identity.name
        case "metadata.namespace": return pod.identity.namespace
        case "metadata.uid": return pod.identity.uid
        case "metadata.labels": return Self.lines(pod.labels)
        case "metadata.annotations": return Self.lines(pod.annotations)
        case "spec.nodeName": return nodeName
        case "spec.serviceAccountName": return pod.serviceAccountName
        case "status.podIP": return podIPs.first ?? ""
        case "status.podIPs": return podIPs.joined(separator: ",")
        case "status.hostIP": return hostIPs.first ?? ""
        case "status.hostIPs": return hostIPs.joined(separator: ",")
        default:
            if let key = Self.subscripted(path, "metadata.labels") { return pod.labels[key] ?? "" }
            if let key = Self.subscripted(path, "metadata.annotations") { return pod.annotations[key] ?? "" }
            return nil
        }
    }

    /// The key of `field['key']`.
    private static func subscripted(_ path: String, _ field: String) -> String? {
        guard path.hasPrefix(field + "['"), path.hasSuffix("']") else { return nil }
        return String(path.dropFirst(field.count + 2).dropLast(2))
    }

    /// `key="value"` a line, sorted, the value escaped as Go's %q does for what labels may hold.
    private static func lines(_ map: [String: String]) -> String {
        map.keys.sorted().map { key in
            var escaped = ""
            for character in (map[key] ?? "").unicodeScalars {
                switch character {
                case "\"": escaped += "\\\""
                case "\\": escaped += "\\\\"
                case "\n": escaped += "\\n"
                case "\r": escaped += "\\r"
                case "\t": escaped += "\\t"
                default: escaped.unicodeScalars.append(character)
                }
            }
            return "\(key)=\"\(escaped)\""
        }.joined(separator: "\n")
    }
}
