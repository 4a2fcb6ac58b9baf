// What becomes of one packet, told twice: by Kubernetes' rules, and by the rules and elements that the kernel has. Pure;
// only `TableSnapshot` can also be read from a kernel.

public import Bytes

/// A new flow's first packet, as it meets the node.
public struct TracedPacket: Hashable, Sendable {
    /// How it comes to the node's stack.
    public enum Entry: Hashable, Sendable {
        /// A process of the node sends it, in the node's own network namespace.
        case node
        case interface(String)
    }

    public var entry: Entry
    public var source: IPAddress
    public var destination: IPAddress
    public var transport: Transport
    public var port: Port

    public init(
        _ entry: Entry, from source: IPAddress, to destination: IPAddress, _ transport: Transport = .tcp, _ port: Port
    ) {
        self.entry = entry
        self.source = source
        self.destination = destination
        self.transport = transport
        self.port = port
    }

    /// "" for what the node sends, as the kernel has it.
    var interface: String { if case .interface(let name) = entry { name } else { "" } }
}

/// What of a node decides about packets, beside its table: which addresses are its own.
struct TracedNode: Sendable {
    /// Loopback needs no mention.
    var addresses: Set<IPAddress>

    func isLocal(_ address: IPAddress) -> Bool { address.isLoopback || addresses.contains(address) }

    /// Whether a packet leaves through `postrouting`, the only place where its source can change: one that came in from
    /// outside and stays here does not.
    func passesPostrouting(_ entry: TracedPacket.Entry, to destination: IPAddress) -> Bool {
        entry == .node || !isLocal(destination)
    }
}
