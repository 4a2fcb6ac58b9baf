import Bytes

/// What sort of device a link is, with the options that creation takes (`IFLA_LINKINFO`).
public enum LinkKind: Hashable, Sendable {
    case bridge(Bridge)
    /// A pair; `peer` describes the other end, which may be born in another namespace. A decoded veth has no peer
    /// description: the kernel does not report one.
    indirect case veth(peer: LinkSpec?)
    case vxlan(VXLAN)
    case macvlan(Macvlan)
    /// A kind without options of ours: `dummy`, `ifb`, and whatever a dump brings that this list does not know.
    case other(String)

    /// The kernel's name of the kind.
    public var name: String {
        switch self {
        case .bridge: "bridge"
        case .veth: "veth"
        case .vxlan: "vxlan"
        case .macvlan: "macvlan"
        case .other(let name): name
        }
    }

    public struct Bridge: Hashable, Sendable {
        public var vlanFiltering: Bool?
        public var spanningTree: Bool?
        /// Hundredths of a second that a new port listens before it forwards; only with spanning tree.
        public var forwardDelay: UInt32?

        public init(vlanFiltering: Bool? = nil, spanningTree: Bool? = nil, forwardDelay: UInt32? = nil) {
            self.vlanFiltering = vlanFiltering
            self.spanningTree = spanningTree
            self.forwardDelay = forwardDelay
        }
    }

    public struct VXLAN: Hashable, Sendable {
        /// The 24-bit network identifier.
        public var vni: UInt32
        /// UDP port that packets are sent to and taken on.
        public var port: UInt16
        /// Source address of the outer packets; nil lets routing choose.
        public var local: IPAddress?
        /// Interface that the outer packets leave by; also fixes the device's default MTU. 0 in the kernel is nil here.
        public var device: InterfaceIndex?
        /// Whether the device learns peers from what it receives. Off where a control plane programs them.
        public var learning: Bool

        public init(
            vni: UInt32, port: UInt16, local: IPAddress? = nil, device: InterfaceIndex? = nil, learning: Bool = false
        ) {
            self.vni = vni
            self.port = port
            self.local = local
            self.device = device
            self.learning = learning
        }
    }

    public struct Macvlan: Hashable, Sendable {
        public enum Mode: UInt32, Hashable, Sendable {
            case privateMode = 1
            case vepa = 2
            case bridge = 4
            case passthru = 8
            case source = 16
        }
        public var mode: Mode
        public init(mode: Mode) { self.mode = mode }
    }
}
