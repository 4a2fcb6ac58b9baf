/// The number by which one network namespace knows another; link attributes of veths speak in it.
public struct NamespaceID: RawRepresentable, Hashable, Sendable {
    public var rawValue: Int32
    public init(rawValue: Int32) { self.rawValue = rawValue }
    /// The kernel's "no number given yet".
    public static let unassigned = NamespaceID(rawValue: -1)
}
