import Bytes

extension ProxyProtocolHeader {
    /// The header's bytes, as `upstream_proxy_protocol` sends them before anything else on a connection.
    ///
    /// Addresses of different families cannot stand in one header: version 1 then says UNKNOWN and version 2 LOCAL. An
    /// IPv4 address beside an IPv6 one is written as a mapped address instead.
    ///
    /// - Parameter withChecksum: version 2 carries its CRC-32C.
    /// - Returns: nil when the values are longer than a header can say (64 KiB).
    public func encoded(withChecksum: Bool = false) -> [UInt8]? {
        var writer = ByteWriter(reserving: 128)
        switch version {
        case .v1: encodeV1(into: &writer)
        case .v2: guard encodeV2(into: &writer, withChecksum) else { return nil }
        }
        return writer.bytes
    }

    private func encodeV1(into writer: inout ByteWriter) {
        guard let (from, to) = endpoints else { return writer.append(utf8: "PROXY UNKNOWN\r\n") }
        writer.append(utf8: from.address.family == .v4 ? "PROXY TCP4 " : "PROXY TCP6 ")
        from.address.appendText(to: &writer.bytes)
        writer.append(UInt8(ascii: " "))
        to.address.appendText(to: &writer.bytes)
        writer.append(utf8: " \(from.port) \(to.port)\r\n")
    }

    private func encodeV2(into writer: inout ByteWriter, _ withChecksum: Bool) -> Bool {
        writer.append(Self.signature)
        if let (from, to) = endpoints {
            writer.append(0x21 as UInt8)
            writer.append((from.address.family == .v4 ? 0x11 : 0x21) as UInt8)
            writer.append(0 as UInt16)
            from.address.withBytes { writer.append($0) }
            to.address.withBytes { writer.append($0) }
            writer.append(from.port.rawValue)
            writer.append(to.port.rawValue)
        } else if let source = source?.kernelPath, let destination = destination?.kernelPath {
            writer.append(0x21 as UInt8)
            writer.append(0x31 as UInt8)
            writer.append(0 as UInt16)
            for path in [source, destination] {
                writer.append(path)
                writer.appendZeros(108 - path.count)
            }
        } else {
            writer.append(0x20 as UInt8)
            writer.append(0 as UInt8)
            writer.append(0 as UInt16)
        }
        for value in values {
            guard value.value.count <= 0xffff else { return false }
            writer.append(value.type)
            writer.append(UInt16(value.value.count))
            writer.append(value.value)
        }
        if withChecksum {
            writer.append(Self.checksumType)
            writer.append(4 as UInt16)
            writer.append(0 as UInt32)
        }
        guard let length = UInt16(exactly: writer.count - 16) else { return false }
        writer.patch(length, at: 14)
        if withChecksum {
            let position = writer.count - 4
            let sum = writer.bytes.withUnsafeBytes { ProxyProtocolDecoder.checksum($0, at: position) }
            writer.patch(sum, at: position)
        }
        return true
    }

    /// Both ends in one family.
    private var endpoints: (from: IPEndpoint, to: IPEndpoint)? {
        guard var from = source?.endpoint, var to = destination?.endpoint else { return nil }
        if from.address.family != to.address.family {
            from.address = from.address.mapped
            to.address = to.address.mapped
        }
        return (from, to)
    }
}

extension IPAddress {
    /// `::ffff:a.b.c.d` for an IPv4 address.
    fileprivate var mapped: IPAddress { v4.map { IPAddress(v6: 0, 0xffff_0000_0000 | UInt64($0)) } ?? self }
}

extension SocketAddress {
    /// As `sockaddr_un` holds it; nil for what is no Unix address or too long for one.
    fileprivate var kernelPath: [UInt8]? {
        let bytes: [UInt8]
        switch self {
        case .unix(let path): bytes = Array(path.utf8)
        case .abstract(let name): bytes = [0] + Array(name.utf8)
        case .ip, .netlink: return nil
        }
        return bytes.count <= 108 ? bytes : nil
    }
}
