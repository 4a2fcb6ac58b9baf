public import Bytes

/// Which of a pod's TCP connections go through its sidecar. Pure; `MeshNode` makes rules of it.
public struct CapturePlan: Sendable, Hashable {
    /// All, or those that are listed.
    public enum Choice<Item: Sendable & Hashable>: Sendable, Hashable {
        case all
        case only([Item])
    }

    /// How connections come to the sidecar, by Istio's names.
    public enum Mode: String, Sendable, CaseIterable {
        /// Their destination is rewritten. The app sees the sidecar's address in place of its clients'.
        case redirect = "REDIRECT"
        /// Incoming ones are taken as they are, and given to the app from the client's address. Needs CAP_NET_ADMIN in the sidecar.
        case tproxy = "TPROXY"
        /// Not at all.
        case none = "NONE"
    }

    public var mode = Mode.redirect
    public var inboundPorts: Choice<ClosedRange<UInt16>> = .all
    public var inboundExcluded: [ClosedRange<UInt16>] = []
    /// Captured whatever their address.
    public var outboundPorts: Choice<ClosedRange<UInt16>> = .only([])
    public var outboundPortsExcluded: [ClosedRange<UInt16>] = []
    public var outboundRanges: Choice<CIDR> = .all
    public var outboundRangesExcluded: [CIDR] = []

    /// False leaves all traffic alone.
    public var isOn: Bool { mode != .none }
    /// The app sees its clients' addresses.
    public var keepsClients: Bool { mode == .tproxy }

    /// Captures everything that may be captured.
    public init() {}

    /// Settings by their names behind the prefix.
    public static let settings: Set<String> = [
        "includeInboundPorts", "excludeInboundPorts", "includeOutboundPorts", "excludeOutboundPorts",
        "includeOutboundIPRanges", "excludeOutboundIPRanges", "interceptionMode",
    ]

    /// - Throws: `AnnotationError` for the first annotation that is not of its form.
    public init(_ annotations: MeshAnnotations) throws(AnnotationError) {
        if let entry = annotations.sidecar("interceptionMode") {
            guard let mode = Mode(rawValue: entry.value) else { throw entry.expected("REDIRECT, TPROXY or NONE") }
            self.mode = mode
        }
        if let entry = annotations.traffic("includeInboundPorts") {
            inboundPorts = entry.value == "*" ? .all : .only(try Self.ports(entry))
        }
        if let entry = annotations.traffic("excludeInboundPorts") { inboundExcluded = try Self.ports(entry) }
        if let entry = annotations.traffic("includeOutboundPorts") {
            outboundPorts = entry.value == "*" ? .all : .only(try Self.ports(entry))
        }
        if let entry = annotations.traffic("excludeOutboundPorts") { outboundPortsExcluded = try Self.ports(entry) }
        if let entry = annotations.traffic("includeOutboundIPRanges") {
            outboundRanges = entry.value == "*" ? .all : .only(try Self.ranges(entry))
        }
        if let entry = annotations.traffic("excludeOutboundIPRanges") {
            outboundRangesExcluded = try Self.ranges(entry)
        }
    }

    /// Of a pod as it stands at the API server; nil for one without a sidecar, whose connections nobody touches.
    ///
    /// - Parameter containers: names of its containers and init containers.
    /// - Throws: `AnnotationError` where the pod came past injection with annotations that say nothing.
    public static func of(
        annotations: [String: String], containers: some Sequence<String>
    ) throws(AnnotationError) -> CapturePlan? {
        guard annotations[MeshName.status] != nil, containers.contains(MeshName.container) else { return nil }
        return try CapturePlan(MeshAnnotations(annotations))
    }

    /// Whether a connection to this port of the pod meets the sidecar, which alone can take mutual TLS off it.
    public func capturesInbound(_ port: UInt16) -> Bool {
        guard isOn, port != MeshPort.health, port != MeshPort.metrics, !inboundExcluded.contains(where: { $0 ~= port })
        else { return false }
        switch inboundPorts {
        case .all: return true
        case .only(let ports): return ports.contains { $0 ~= port }
        }
    }

    /// Whether a connection from the pod to this place goes by way of the sidecar.
    public func capturesOutbound(_ address: IPAddress, _ port: UInt16) -> Bool {
        guard isOn, !outboundPortsExcluded.contains(where: { $0 ~= port }),
            !outboundRangesExcluded.contains(where: { $0.contains(address) })
        else { return false }
        if case .only(let ports) = outboundPorts, case .only(let ranges) = outboundRanges {
            return ports.contains { $0 ~= port } || ranges.contains { $0.contains(address) }
        }
        return true
    }

    private static func items(_ entry: MeshAnnotations.Entry) -> [Substring] {
        entry.value.split(separator: ",").map { $0.trimmed }.filter { !$0.isEmpty }
    }

    /// `80`, `8000-8010`, with commas.
    private static func ports(_ entry: MeshAnnotations.Entry) throws(AnnotationError) -> [ClosedRange<UInt16>] {
        var found: [ClosedRange<UInt16>] = []
        for item in items(entry) {
            let ends = item.split(separator: "-", omittingEmptySubsequences: false).map { UInt16($0.trimmed) }
            guard let low = ends[0], low > 0, ends.count <= 2, let high = ends[ends.count - 1], low <= high else {
                throw entry.expected("ports such as 80 or 8000-8010, separated by commas")
            }
            found.append(low...high)
        }
        return found
    }

    private static func ranges(_ entry: MeshAnnotations.Entry) throws(AnnotationError) -> [CIDR] {
        var found: [CIDR] = []
        for item in items(entry) {
            let range = CIDR(item) ?? IPAddress(item).map { CIDR(host: $0) }
            guard let range else {
                throw entry.expected("ranges such as 10.0.0.0/8, separated by commas")
            }
            found.append(range.network)
        }
        return found
    }
}

extension Substring {
    fileprivate var trimmed: Substring {
        var rest = self
        while rest.first == " " { rest.removeFirst() }
        while rest.last == " " { rest.removeLast() }
        return rest
    }
}
