import Bytes
import Netlink
import NodeTables

/// Elements as the register bytes that the table's sets and maps hold, and back.
///
/// Fields stand at four-byte boundaries; addresses and ports in network order, numbers in the machine's.
enum PolicyElementCodec {
    static func set(of key: PolicyElementKey) -> PolicySet {
        switch key {
        case .profile(.ingress, let address): address.family == .v4 ? .ingressV4 : .ingressV6
        case .profile(.egress, let address): address.family == .v4 ? .egressV4 : .egressV6
        case .identity(let address): address.family == .v4 ? .identitiesV4 : .identitiesV6
        case .loopback(let address): address.family == .v4 ? .loopbacksV4 : .loopbacksV6
        case .block(_, let range): range.first.family == .v4 ? .blocksV4 : .blocksV6
        case .peer: .peers
        case .transport: .transports
        case .port: .ports
        case .group: .groups
        case .openTransport: .openTransports
        case .openPort: .openPorts
        case .openGroup: .openGroups
        case .portGroup: .portGroups
        case .judged: .judged
        case .stamp: .stamp
        }
    }

    static func encode(_ key: PolicyElementKey, into bytes: inout [UInt8]) {
        switch key {
        case .profile(_, let address), .identity(let address): append(address, to: &bytes)
        case .loopback(let address):
            append(address, to: &bytes)
            append(address, to: &bytes)
        case .peer(let profile, let peer), .openGroup(let profile, let peer):
            append(profile, to: &bytes)
            append(peer, to: &bytes)
        case .group(let profile, let peer, let group):
            append(profile, to: &bytes)
            append(peer, to: &bytes)
            append(group, to: &bytes)
        case .transport(let profile, let peer, let transport):
            append(profile, to: &bytes)
            append(peer, to: &bytes)
            append(transport, to: &bytes)
        case .port(let profile, let peer, let transport, let port):
            append(profile, to: &bytes)
            append(peer, to: &bytes)
            append(transport, to: &bytes)
            append(port, to: &bytes)
        case .openTransport(let profile, let transport):
            append(profile, to: &bytes)
            append(transport, to: &bytes)
        case .openPort(let profile, let transport, let port):
            append(profile, to: &bytes)
            append(transport, to: &bytes)
            append(port, to: &bytes)
        case .block(let profile, let range):
            append(profile, to: &bytes)
            append(range.first, to: &bytes)
        case .portGroup(let profile, let range):
            append(profile, to: &bytes)
            append(range.transport, to: &bytes)
            append(range.first, to: &bytes)
        case .judged(let mark): append(mark, to: &bytes)
        case .stamp: append(0 as UInt32, to: &bytes)
        }
    }

    /// The last key of a range of keys; nil for single keys.
    static func end(of key: PolicyElementKey) -> [UInt8]? {
        var bytes: [UInt8] = []
        switch key {
        case .block(let profile, let range):
            append(profile, to: &bytes)
            append(range.last, to: &bytes)
        case .portGroup(let profile, let range):
            append(profile, to: &bytes)
            append(range.transport, to: &bytes)
            append(range.last, to: &bytes)
        default: return nil
        }
        return bytes
    }

    /// Nothing for sets.
    static func encode(_ value: PolicyElementValue, into bytes: inout [UInt8]) {
        if case .number(let number) = value { append(number, to: &bytes) }
    }

    static func element(_ key: PolicyElementKey, _ value: PolicyElementValue) -> NFElement {
        var (keyBytes, valueBytes): ([UInt8], [UInt8]) = ([], [])
        encode(key, into: &keyBytes)
        encode(value, into: &valueBytes)
        return NFElement(
            key: keyBytes, keyEnd: end(of: key), data: valueBytes.isEmpty ? .none : .value(valueBytes))
    }

    /// nil for an element that we never wrote.
    static func decode(_ set: PolicySet, _ view: NFElementView) -> (PolicyElementKey, PolicyElementValue)? {
        var fields = Fields(view.key)
        let value: PolicyElementValue
        if set.isMap {
            guard let bytes = view.value, bytes.count == 4 else { return nil }
            value = .number(bytes.loadUnaligned(as: UInt32.self))
        } else {
            value = .present
        }
        return key(set, &fields, view.keyEnd).map { ($0, value) }
    }

    private static func key(_ set: PolicySet, _ fields: inout Fields, _ end: UnsafeRawBufferPointer?)
        -> PolicyElementKey?
    {
        switch set {
        case .ingressV4, .ingressV6, .egressV4, .egressV6:
            let direction: NetworkPolicySpec.Direction =
                set == .ingressV4 || set == .ingressV6 ? .ingress : .egress
            return fields.address(set == .ingressV4 || set == .egressV4 ? 4 : 16).map { .profile(direction, $0) }
        case .identitiesV4, .identitiesV6:
            return fields.address(set == .identitiesV4 ? 4 : 16).map { .identity($0) }
        case .loopbacksV4, .loopbacksV6:
            let size = set == .loopbacksV4 ? 4 : 16
            guard let one = fields.address(size), let other = fields.address(size), one == other else { return nil }
            return .loopback(one)
        case .peers:
            guard let profile = fields.word(), let peer = fields.word() else { return nil }
            return .peer(profile, peer)
        case .openGroups:
            guard let profile = fields.word(), let group = fields.word() else { return nil }
            return .openGroup(profile, group)
        case .groups:
            guard let profile = fields.word(), let peer = fields.word(), let group = fields.word() else { return nil }
            return .group(profile, peer, group)
        case .transports:
            guard let profile = fields.word(), let peer = fields.word(), let transport = fields.transport() else {
                return nil
            }
            return .transport(profile, peer, transport)
        case .ports:
            guard let profile = fields.word(), let peer = fields.word(), let transport = fields.transport(),
                let port = fields.port()
            else { return nil }
            return .port(profile, peer, transport, port)
        case .openTransports:
            guard let profile = fields.word(), let transport = fields.transport() else { return nil }
            return .openTransport(profile, transport)
        case .openPorts:
            guard let profile = fields.word(), let transport = fields.transport(), let port = fields.port() else {
                return nil
            }
            return .openPort(profile, transport, port)
        case .blocksV4, .blocksV6:
            let size = set == .blocksV4 ? 4 : 16
            guard var last = end.map(Fields.init), let profile = fields.word(), let first = fields.address(size),
                last.word() == profile, let final = last.address(size)
            else { return nil }
            return .block(profile, AddressRange(first, final))
        case .portGroups:
            guard var last = end.map(Fields.init), let profile = fields.word(), let transport = fields.transport(),
                let first = fields.port(), last.word() == profile, last.transport() == transport,
                let final = last.port()
            else { return nil }
            return .portGroup(profile, .init(transport: transport, first: first, last: final))
        case .judged: return fields.word().map { .judged($0) }
        case .stamp: return fields.word() == 0 ? .stamp : nil
        }
    }

    // MARK: -

    private static func append(_ address: IPAddress, to bytes: inout [UInt8]) {
        address.withBytes { bytes.append(contentsOf: $0) }
    }

    private static func append(_ number: UInt32, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: number) { bytes.append(contentsOf: $0) }
    }

    private static func append(_ port: Port, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: port.rawValue.bigEndian) { bytes.append(contentsOf: $0) }
        bytes.append(0)
        bytes.append(0)
    }

    private static func append(_ transport: Transport, to bytes: inout [UInt8]) {
        bytes.append(transport.rawValue)
        for _ in 0..<3 { bytes.append(0) }
    }

    private struct Fields {
        private var cursor: ByteCursor

        init(_ bytes: UnsafeRawBufferPointer) { cursor = ByteCursor(bytes) }

        mutating func word() -> UInt32? { cursor.readBytes(4)?.loadUnaligned(as: UInt32.self) }
        mutating func address(_ size: Int) -> IPAddress? { cursor.readBytes(size).flatMap(IPAddress.init(bytes:)) }
        mutating func port() -> Port? {
            guard let number = cursor.readUInt16(), cursor.skip(2) else { return nil }
            return Port(number)
        }
        mutating func transport() -> Transport? {
            guard let number = cursor.readUInt8(), cursor.skip(3) else { return nil }
            return Transport(rawValue: number)
        }
    }
}
