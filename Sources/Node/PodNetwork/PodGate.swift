/// Who must have let a pod in before its link is handed over: what guards packets has to stand before there are any.
///
/// Called on the pod network's loop, and may take a millisecond there.
public protocol PodGate: Sendable {
    /// Learns what it has to know of a pod before `admit`, which cannot wait. Any task. Throws to have the attachment refused for now.
    func prepare(_ request: AttachRequest) async throws
    /// What is said of the pod is in force when this returns. Throws to have the attachment taken back, and tried again.
    func admit(_ attachment: PodAttachment) throws
    /// The pod's link is gone, and its addresses may soon be another's.
    func release(_ attachment: PodAttachment)
    /// Why no pod can be let in now; nil when they can.
    var unreadiness: String? { get }
}

extension PodGate {
    public func prepare(_ request: AttachRequest) async throws {}
}

/// Several gates in a row: each lets a pod in, or none does.
public struct PodGateRow: PodGate {
    private let gates: [any PodGate]

    public init(_ gates: [any PodGate]) { self.gates = gates }

    public func prepare(_ request: AttachRequest) async throws {
        for gate in gates { try await gate.prepare(request) }
    }

    /// What one throws is thrown; whoever called takes the attachment back, and `release` tells all of it.
    public func admit(_ attachment: PodAttachment) throws {
        for gate in gates { try gate.admit(attachment) }
    }

    public func release(_ attachment: PodAttachment) {
        for gate in gates { gate.release(attachment) }
    }

    public var unreadiness: String? { gates.lazy.compactMap(\.unreadiness).first }
}
