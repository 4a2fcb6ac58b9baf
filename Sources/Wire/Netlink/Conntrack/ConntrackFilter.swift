public import Bytes

/// Which flows a dump should bring. What is nil matches all; the kernel compares (Linux 5.8).
public struct ConntrackFilter: Hashable, Sendable {
    public var family: IPAddress.Family
    /// Of the original direction, as all that follow.
    public var transport: Transport?
    public var source: IPAddress?
    public var destination: IPAddress?
    public var destinationPort: Port?
    /// `mark & mask == value`.
    public var mark: (value: UInt32, mask: UInt32)? {
        get { markMask.map { (markValue, $0) } }
        set { (markValue, markMask) = (newValue?.value ?? 0, newValue?.mask) }
    }
    private var markValue: UInt32 = 0
    private var markMask: UInt32?

    /// The port is compared only beside a transport.
    public init(
        _ family: IPAddress.Family, transport: Transport? = nil, source: IPAddress? = nil,
        destination: IPAddress? = nil, destinationPort: Port? = nil
    ) {
        self.family = family
        self.transport = transport
        self.source = source
        self.destination = destination
        self.destinationPort = transport == nil ? nil : destinationPort
    }

    public func matches(_ flow: ConntrackFlow) -> Bool {
        let tuple = flow.original
        return tuple.destination.family == family && (transport == nil || transport?.rawValue == tuple.transport)
            && (source == nil || source == tuple.source)
            && (destination == nil || destination == tuple.destination)
            && (destinationPort == nil || destinationPort == tuple.destinationPort)
            && (markMask.map { flow.mark & $0 == markValue } ?? true)
    }

    /// Bits of `CTA_FILTER_ORIG_FLAGS`, from the kernel's `nf_internals.h`.
    private var fields: UInt32 {
        (source == nil ? 0 : 1) | (destination == nil ? 0 : 2) | (transport == nil ? 0 : 8)
            | (destinationPort == nil ? 0 : 32)
    }

    func encode(into writer: inout NetlinkWriter) {
        writer.netfilterHeader(family == .v4 ? 2 : 10)
        if let markMask {
            writer.attribute(CTA.mark, bigEndian: markValue)
            writer.attribute(CTA.markMask, bigEndian: markMask)
        }
        guard fields != 0 else { return }
        // The two flag words are in host order, unlike all else of nfnetlink.
        writer.nest(CTA.filter) { filter in
            filter.attribute(CTA.Filter.original, fields)
            filter.attribute(CTA.Filter.reply, UInt32(0))
        }
        writer.nest(CTA.original) { tuple in
            if source != nil || destination != nil {
                tuple.nest(CTA.Tuple.ip) { ip in
                    if let source { ip.attribute(family == .v4 ? CTA.IP.v4Source : CTA.IP.v6Source, source) }
                    if let destination {
                        ip.attribute(family == .v4 ? CTA.IP.v4Destination : CTA.IP.v6Destination, destination)
                    }
                }
            }
            guard let transport else { return }
            tuple.nest(CTA.Tuple.transport) { proto in
                proto.attribute(CTA.Transport.number, transport.rawValue)
                if let destinationPort {
                    proto.attribute(CTA.Transport.destinationPort, bigEndian: destinationPort.rawValue)
                }
            }
        }
    }
}
