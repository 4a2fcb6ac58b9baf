/// A pod's annotations about its sidecar: each setting under our prefix, and under the name that Istio gave it.
public struct MeshAnnotations: Sendable {
    /// A setting that was read: under which name it was found, and what it says.
    public struct Entry: Sendable {
        public var name: String
        public var value: String

        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }

        /// The reader's complaint, with the annotation's name.
        public func expected(_ what: String) -> AnnotationError {
            AnnotationError(description: "annotation \(name): expected \(what), found \"\(value)\"")
        }
    }

    public static let prefix = "mesh.weft.dev/"
    static let trafficPrefix = "traffic.sidecar.istio.io/"
    static let sidecarPrefix = "sidecar.istio.io/"

    private let values: [String: String]

    public init(_ annotations: [String: String]) { values = annotations }

    /// How traffic is captured, such as `excludeOutboundPorts`.
    public func traffic(_ setting: String) -> Entry? { find(setting, Self.trafficPrefix) }

    /// What the sidecar is like, such as `proxyCPU`.
    public func sidecar(_ setting: String) -> Entry? { find(setting, Self.sidecarPrefix) }

    private func find(_ setting: String, _ istio: String) -> Entry? {
        for name in [Self.prefix + setting, istio + setting] {
            if let value = values[name] { return Entry(name: name, value: value) }
        }
        return nil
    }

    /// Annotations of Istio's about sidecars and traffic that say nothing to this mesh, in order.
    public func unknown(besides known: Set<String>) -> [String] {
        values.keys.filter { name in
            for prefix in [Self.prefix, Self.trafficPrefix, Self.sidecarPrefix, "proxy.istio.io/"]
            where name.hasPrefix(prefix) {
                return !known.contains(String(name.dropFirst(prefix.count)))
            }
            return false
        }.sorted()
    }
}

/// An annotation that cannot mean what it says.
public struct AnnotationError: Error, Hashable, Sendable, CustomStringConvertible {
    public var description: String

    public init(description: String) { self.description = description }
}
