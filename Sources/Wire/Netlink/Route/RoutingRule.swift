import Bytes

/// A rule of the policy database: which packets ask which table.
public struct RoutingRule: Hashable, Sendable {
    public var family: IPAddress.Family
    /// Lower is asked first.
    public var priority: UInt32?
    public var source: CIDR?
    public var destination: CIDR?
    public var incomingInterface: String?
    public var outgoingInterface: String?
    public var mark: UInt32?
    public var markMask: UInt32?
    public var action: Action
    public var table: RouteTable
    public var origin: RouteOrigin
    /// Answers of the table with a prefix this long or shorter do not count (0 skips default routes).
    public var suppressPrefixLength: UInt32?

    /// `FR_ACT_*`.
    public enum Action: UInt8, Hashable, Sendable {
        case lookup = 1
        case goto = 2
        case nop = 3
        case blackhole = 6
        case unreachable = 7
        case prohibit = 8
    }

    public init(
        family: IPAddress.Family, priority: UInt32? = nil, source: CIDR? = nil, destination: CIDR? = nil,
        incomingInterface: String? = nil, outgoingInterface: String? = nil, mark: UInt32? = nil,
        markMask: UInt32? = nil, action: Action = .lookup, table: RouteTable = .main, origin: RouteOrigin = .weft,
        suppressPrefixLength: UInt32? = nil
    ) {
        self.family = family
        self.priority = priority
        self.source = source
        self.destination = destination
        self.incomingInterface = incomingInterface
        self.outgoingInterface = outgoingInterface
        self.mark = mark
        self.markMask = markMask
        self.action = action
        self.table = table
        self.origin = origin
        self.suppressPrefixLength = suppressPrefixLength
    }
}
