import Bytes

/// What a connection must be for a filter chain to serve it (`envoy.config.listener.v3.FilterChainMatch`). A criterion that
/// is empty or nil takes every connection.
public struct FilterChainMatch: Hashable, Sendable {
    /// `ConnectionSourceType`: whether the connection comes from this machine.
    public enum SourceType: Hashable, Sendable { case any, sameAddressOrLoopback, external }

    public var destinationPort: Port?
    public var destinationPrefixes: [CIDR]
    /// Exact names, or `*.` and a suffix, which stands for one or more labels. Case does not matter.
    public var serverNames: [String]
    /// "tls" or "raw_buffer"; empty for any. Another name matches nothing, as in Envoy.
    public var transportProtocol: String
    public var applicationProtocols: [String]
    /// The socket's peer, whatever a PROXY header says.
    public var directSourcePrefixes: [CIDR]
    public var sourceType: SourceType
    /// The client: of a PROXY header where there was one.
    public var sourcePrefixes: [CIDR]
    public var sourcePorts: [Port]

    public init(
        destinationPort: Port? = nil, destinationPrefixes: [CIDR] = [], serverNames: [String] = [],
        transportProtocol: String = "", applicationProtocols: [String] = [], directSourcePrefixes: [CIDR] = [],
        sourceType: SourceType = .any, sourcePrefixes: [CIDR] = [], sourcePorts: [Port] = []
    ) {
        self.destinationPort = destinationPort
        self.destinationPrefixes = destinationPrefixes
        self.serverNames = serverNames
        self.transportProtocol = transportProtocol
        self.applicationProtocols = applicationProtocols
        self.directSourcePrefixes = directSourcePrefixes
        self.sourceType = sourceType
        self.sourcePrefixes = sourcePrefixes
        self.sourcePorts = sourcePorts
    }
}

/// What a listener knows of a connection when it chooses the chain: all that inspection has found. A view; the bytes
/// belong to whoever made it and must outlive the lookup.
public struct ConnectionFacts {
    /// How the connection's bytes are protected, as far as inspection could tell.
    public enum TransportProtocol: Sendable { case rawBuffer, tls }

    /// Where the connection was sent to: the original destination where that was restored. nil for a Unix socket.
    public var destination: IPEndpoint?
    /// The socket's peer; nil for a Unix socket.
    public var directSource: IPEndpoint?
    /// The client: the socket's peer, or whom a PROXY header names; nil for a Unix socket.
    public var source: IPEndpoint?
    /// The name that the client asked for, in lower case; empty for none.
    public var serverName: UnsafeRawBufferPointer
    public var transportProtocol: TransportProtocol
    /// In the client's order.
    public var applicationProtocols: ProtocolNames

    public init(
        destination: IPEndpoint?, directSource: IPEndpoint?, source: IPEndpoint? = nil,
        serverName: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0),
        transportProtocol: TransportProtocol = .rawBuffer, applicationProtocols: ProtocolNames = ProtocolNames()
    ) {
        self.destination = destination
        self.directSource = directSource
        self.source = source ?? directSource
        self.serverName = serverName
        self.transportProtocol = transportProtocol
        self.applicationProtocols = applicationProtocols
    }

    /// Pipes, loopback peers, and connections of an address to itself: what Envoy calls local.
    var comesFromThisMachine: Bool {
        guard let source else { return true }
        return source.address.isTheLoopback || source.address == destination?.address
    }
}

/// Protocol names in ALPN's wire form (RFC 7301 §3.1): each after a byte with its length. A view.
public struct ProtocolNames: Sequence, IteratorProtocol {
    private var rest: UnsafeRawBufferPointer

    public init() { rest = UnsafeRawBufferPointer(start: nil, count: 0) }

    /// Names behind one that is cut short are not seen.
    public init(wire: UnsafeRawBufferPointer) { rest = wire }

    /// One name that inspection found; `wire` begins with its length.
    public init(wire: StaticString) {
        rest = UnsafeRawBufferPointer(start: wire.utf8Start, count: wire.utf8CodeUnitCount)
    }

    public mutating func next() -> UnsafeRawBufferPointer? {
        guard let first = rest.first, Int(first) < rest.count else { return nil }
        let end = 1 &+ Int(first)
        defer { rest = UnsafeRawBufferPointer(rebasing: rest[end...]) }
        return UnsafeRawBufferPointer(rebasing: rest[1..<end])
    }
}

extension IPAddress {
    /// What Envoy calls loopback: 127.0.0.1 and ::1, not all of 127.0.0.0/8.
    var isTheLoopback: Bool { self == Self.loopbackV4 || self == Self.loopbackV6 }

    private static let loopbackV4 = IPAddress("127.0.0.1")
    private static let loopbackV6 = IPAddress("::1")
}
