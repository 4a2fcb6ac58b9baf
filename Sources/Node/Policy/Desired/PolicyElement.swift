import Bytes
import NodeTables

/// Where an element lives and what finds it there. Numbers are those of profiles and of identities.
enum PolicyElementKey: Hashable, Sendable {
    /// An isolated pod of this node, by the profile that isolates it.
    case profile(NetworkPolicySpec.Direction, IPAddress)
    /// Any pod of the cluster that some profile here allows something.
    case identity(IPAddress)
    /// What a pod says to itself.
    case loopback(IPAddress)
    case peer(UInt32, UInt32)
    case transport(UInt32, UInt32, Transport)
    case port(UInt32, UInt32, Transport, Port)
    case group(UInt32, UInt32, UInt32)
    /// For everybody.
    case openTransport(UInt32, Transport)
    /// For everybody.
    case openPort(UInt32, Transport, Port)
    /// For everybody.
    case openGroup(UInt32, UInt32)
    /// Addresses that a profile names by prefixes; they have identities of their own within it.
    indirect case block(UInt32, AddressRange)
    /// Ports that a profile names by ranges.
    case portGroup(UInt32, PortSet.PortRange)
    /// What connections are marked with that were judged, and may go on.
    case judged(UInt32)
    /// Maps to the mark that judged connections get.
    case stamp
}

/// What an element maps to; sets map to nothing.
enum PolicyElementValue: Hashable, Sendable {
    case present
    case number(UInt32)
}
