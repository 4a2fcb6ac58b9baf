import Bytes
import Netlink

/// Elements as the register bytes that the table's sets and maps hold, and back.
///
/// Fields stand at four-byte boundaries; addresses and ports in network order, list numbers and slots in the machine's.
struct ServiceElementCodec: Sendable {
    let family: IPAddress.Family
    private var addressSize: Int { family == .v4 ? 4 : 16 }

    /// Which set or map an element is in.
    static func set(of key: ServiceElementKey) -> ServiceSet {
        switch key {
        case .service: .services
        case .nodePort: .nodePorts
        case .externalService: .externalServices
        case .externalNodePort: .externalNodePorts
        case .endpoint: .endpoints
        case .clusterIP: .clusterIPs
        case .hairpin: .hairpins
        case .nodeAddress: .nodeAddresses
        }
    }

    func encode(_ key: ServiceElementKey, into bytes: inout [UInt8]) {
        switch key {
        case .service(let address, let transport, let port), .externalService(let address, let transport, let port):
            append(address, to: &bytes)
            append(transport, port, to: &bytes)
        case .nodePort(let transport, let port), .externalNodePort(let transport, let port):
            append(transport, port, to: &bytes)
        case .endpoint(let list, let slot):
            append(list, to: &bytes)
            append(slot, to: &bytes)
        case .clusterIP(let address), .nodeAddress(let address): append(address, to: &bytes)
        case .hairpin(let address):
            append(address, to: &bytes)
            append(address, to: &bytes)
        }
    }

    /// Nothing for sets.
    func encode(_ value: ServiceElementValue, into bytes: inout [UInt8]) {
        switch value {
        case .present: break
        case .dispatch(let dispatch): append(dispatch.rawValue, to: &bytes)
        case .endpoint(let address, let port):
            append(address, to: &bytes)
            append(port, to: &bytes)
        }
    }

    /// nil for an element that we never wrote.
    func decode(_ set: ServiceSet, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer?)
        -> (ServiceElementKey, ServiceElementValue)?
    {
        var key = ByteCursor(key)
        func address(_ cursor: inout ByteCursor) -> IPAddress? {
            cursor.readBytes(addressSize).flatMap(IPAddress.init(bytes:))
        }
        func port(_ cursor: inout ByteCursor) -> Port? {
            guard let number = cursor.readUInt16(), cursor.skip(2) else { return nil }
            return Port(number)
        }
        func transport(_ cursor: inout ByteCursor) -> Transport? {
            guard let number = cursor.readUInt8(), cursor.skip(3) else { return nil }
            return Transport(rawValue: number)
        }
        func dispatch() -> ServiceElementValue? {
            guard let value, value.count == 4 else { return nil }
            return .dispatch(Dispatch(rawValue: value.loadUnaligned(as: UInt32.self)))
        }
        switch set {
        case .services, .externalServices:
            guard let address = address(&key), let transport = transport(&key), let port = port(&key),
                let dispatch = dispatch()
            else { return nil }
            return (
                set == .services ? .service(address, transport, port) : .externalService(address, transport, port),
                dispatch
            )
        case .nodePorts, .externalNodePorts:
            guard let transport = transport(&key), let port = port(&key), let dispatch = dispatch() else { return nil }
            return (set == .nodePorts ? .nodePort(transport, port) : .externalNodePort(transport, port), dispatch)
        case .endpoints:
            guard let list = key.readBytes(4), let slot = key.readBytes(4), let value else { return nil }
            var cursor = ByteCursor(value)
            guard let address = address(&cursor), let port = port(&cursor) else { return nil }
            return (
                .endpoint(list: list.loadUnaligned(as: UInt32.self), slot: slot.loadUnaligned(as: UInt32.self)),
                .endpoint(address, port)
            )
        case .clusterIPs: return address(&key).map { (.clusterIP($0), .present) }
        case .nodeAddresses: return address(&key).map { (.nodeAddress($0), .present) }
        case .hairpins:
            guard let first = address(&key), let second = address(&key), first == second else { return nil }
            return (.hairpin(first), .present)
        }
    }

    // MARK: -

    private func append(_ address: IPAddress, to bytes: inout [UInt8]) {
        address.withBytes { bytes.append(contentsOf: $0) }
    }

    private func append(_ port: Port, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: port.rawValue.bigEndian) { bytes.append(contentsOf: $0) }
        bytes.append(0)
        bytes.append(0)
    }

    private func append(_ transport: Transport, _ port: Port, to bytes: inout [UInt8]) {
        bytes.append(transport.rawValue)
        for _ in 0..<3 { bytes.append(0) }
        append(port, to: &bytes)
    }

    private func append(_ word: UInt32, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: word) { bytes.append(contentsOf: $0) }
    }
}
