public import Bytes

/// One direction of a flow, as a packet of it looks.
public struct ConntrackTuple: Hashable, Sendable {
    public var source: IPAddress
    public var destination: IPAddress
    /// IP protocol number.
    public var transport: UInt8
    /// 0 for protocols without ports.
    public var sourcePort: Port
    public var destinationPort: Port

    public init(
        from source: IPAddress, _ sourcePort: Port, to destination: IPAddress, _ destinationPort: Port,
        transport: Transport
    ) {
        self.source = source
        self.destination = destination
        self.transport = transport.rawValue
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
    }
}

/// A flow that the kernel tracks.
public struct ConntrackFlow: Hashable, Sendable {
    /// As the first packet came.
    public var original: ConntrackTuple
    /// As answers come: where a destination was rewritten, its source is the new one.
    public var reply: ConntrackTuple
    public var status: UInt32 = 0
    /// Seconds that are left.
    public var timeout: UInt32 = 0
    public var mark: UInt32 = 0
    public var id: UInt32 = 0
    public var zone: UInt16 = 0
    /// `TCP_CONNTRACK_*`; 0 for other protocols.
    public var tcpState: UInt8 = 0

    /// The destination was rewritten.
    public var isDestinationNAT: Bool { status & 0x20 != 0 }

    /// Both ends have spoken, and neither has said that it ends.
    public var isOpen: Bool {
        // `IPS_SEEN_REPLY`; `TCP_CONNTRACK_ESTABLISHED`.
        status & 0x2 != 0 && (original.transport != Transport.tcp.rawValue || tcpState == 3)
    }
}

/// `CTA_*`.
enum CTA {
    static let original: UInt16 = 1, reply: UInt16 = 2, status: UInt16 = 3, timeout: UInt16 = 7, mark: UInt16 = 8
    /// Nested twice: `CTA_PROTOINFO_TCP`, `CTA_PROTOINFO_TCP_STATE`.
    static let protocolInfo: UInt16 = 4
    static let id: UInt16 = 12, zone: UInt16 = 18, markMask: UInt16 = 21, filter: UInt16 = 25
    enum Tuple { static let ip: UInt16 = 1, transport: UInt16 = 2 }
    enum IP {
        static let v4Source: UInt16 = 1, v4Destination: UInt16 = 2, v6Source: UInt16 = 3, v6Destination: UInt16 = 4
    }
    enum Transport { static let number: UInt16 = 1, sourcePort: UInt16 = 2, destinationPort: UInt16 = 3 }
    enum Filter { static let original: UInt16 = 1, reply: UInt16 = 2 }
}

extension ConntrackTuple {
    func encode(into writer: inout NetlinkWriter) {
        writer.nest(CTA.Tuple.ip) { ip in
            ip.attribute(source.family == .v4 ? CTA.IP.v4Source : CTA.IP.v6Source, source)
            ip.attribute(destination.family == .v4 ? CTA.IP.v4Destination : CTA.IP.v6Destination, destination)
        }
        writer.nest(CTA.Tuple.transport) { proto in
            proto.attribute(CTA.Transport.number, transport)
            proto.attribute(CTA.Transport.sourcePort, bigEndian: sourcePort.rawValue)
            proto.attribute(CTA.Transport.destinationPort, bigEndian: destinationPort.rawValue)
        }
    }

    init?(_ attributes: NetlinkAttributes) {
        guard let ip = attributes.first(CTA.Tuple.ip)?.nested,
            let proto = attributes.first(CTA.Tuple.transport)?.nested,
            let source = (ip.first(CTA.IP.v4Source) ?? ip.first(CTA.IP.v6Source))?.address,
            let destination = (ip.first(CTA.IP.v4Destination) ?? ip.first(CTA.IP.v6Destination))?.address,
            let transport = proto.first(CTA.Transport.number)?.u8
        else { return nil }
        self.source = source
        self.destination = destination
        self.transport = transport
        sourcePort = Port(proto.first(CTA.Transport.sourcePort)?.u16BigEndian ?? 0)
        destinationPort = Port(proto.first(CTA.Transport.destinationPort)?.u16BigEndian ?? 0)
    }
}

extension ConntrackFlow {
    init?(_ message: NetlinkMessage) {
        guard message.type & 0xFF00 == NFNL.conntrack else { return nil }
        var (original, reply): (ConntrackTuple?, ConntrackTuple?)
        var (status, timeout, mark, id, zone): (UInt32, UInt32, UInt32, UInt32, UInt16) = (0, 0, 0, 0, 0)
        var tcpState: UInt8 = 0
        for attribute in message.attributes(after: NFNL.headerSize) {
            switch attribute.type {
            case CTA.original: original = ConntrackTuple(attribute.nested)
            case CTA.reply: reply = ConntrackTuple(attribute.nested)
            case CTA.status: status = attribute.u32BigEndian ?? 0
            case CTA.timeout: timeout = attribute.u32BigEndian ?? 0
            case CTA.mark: mark = attribute.u32BigEndian ?? 0
            case CTA.id: id = attribute.u32BigEndian ?? 0
            case CTA.zone: zone = attribute.u16BigEndian ?? 0
            case CTA.protocolInfo: tcpState = attribute.nested.first(1)?.nested.first(1)?.u8 ?? 0
            default: break
            }
        }
        guard let original, let reply else { return nil }
        self.init(
            original: original, reply: reply, status: status, timeout: timeout, mark: mark, id: id, zone: zone,
            tcpState: tcpState)
    }
}
