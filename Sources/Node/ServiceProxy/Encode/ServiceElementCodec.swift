import Bytes
import Netlink
import NodeTables

/// Elements as the register bytes that the table's sets and maps hold, and back.
///
/// Fields stand at four-byte boundaries; addresses and ports in network order, list numbers and slots in the machine's.
struct ServiceElementCodec: Sendable {
    let family: IPAddress.Family
    private var addressSize: Int { family == .v4 ? 4 : 16 }

    /// A list's number and a slot's.
    static let slotKeySize = 8

    /// Which set or map an element is in.
    ///
    /// nil for what is more than an element.
    static func set(of key: ServiceElementKey) -> ServiceSet? {
        switch key {
        case .service: .services
        case .nodePort: .nodePorts
        case .externalService: .externalServices
        case .externalNodePort: .externalNodePorts
        case .endpoint: .endpoints
        case .clusterIP: .clusterIPs
        case .hairpin: .hairpins
        case .nodeAddress: .nodeAddresses
        case .stickySlot: .stickySlots
        case .stickyMember: .stickyMembers
        case .allowedSource: .allowedSources
        case .serviceRange: .serviceRanges
        case .stickyClass: nil
        }
    }

    func encode(_ key: ServiceElementKey, into bytes: inout [UInt8]) {
        switch key {
        case .service(let address, let transport, let port), .externalService(let address, let transport, let port):
            append(address, to: &bytes)
            append(transport, port, to: &bytes)
        case .nodePort(let transport, let port), .externalNodePort(let transport, let port):
            append(transport, port, to: &bytes)
        case .endpoint(let list, let slot), .stickySlot(let list, let slot):
            append(list << Dispatch.listShift, to: &bytes)
            append(slot, to: &bytes)
        case .stickyMember(let list, let number): append(list << Dispatch.listShift | number, to: &bytes)
        case .clusterIP(let address), .nodeAddress(let address): append(address, to: &bytes)
        case .hairpin(let address):
            append(address, to: &bytes)
            append(address, to: &bytes)
        case .allowedSource(let source): append(source, source.sources.first, to: &bytes)
        case .serviceRange(let range): append(range.first, to: &bytes)
        case .stickyClass: break
        }
    }

    /// The last key of a range of keys; nil for single keys.
    func encodeEnd(_ key: ServiceElementKey) -> [UInt8]? {
        guard case .allowedSource(let source) = key else { return nil }
        var bytes: [UInt8] = []
        append(source, source.sources.last, to: &bytes)
        return bytes
    }

    /// Nothing for sets. `key` is the element's.
    func encode(_ value: ServiceElementValue, of key: ServiceElementKey, into bytes: inout [UInt8]) {
        switch value {
        case .present, .sticky: break
        case .member(let number):
            guard case .stickySlot(let list, _) = key else { return }
            append(list << Dispatch.listShift | number, to: &bytes)
        case .dispatch(let dispatch): append(dispatch.rawValue, to: &bytes)
        case .endpoint(let address, let port):
            append(address, to: &bytes)
            append(port, to: &bytes)
        }
    }

    /// The key's element, or elements, as values; the hot way is `append` of a batch.
    func elements(_ key: ServiceElementKey, _ value: ServiceElementValue) -> [NFElement] {
        var (keyBytes, valueBytes): ([UInt8], [UInt8]) = ([], [])
        encode(key, into: &keyBytes)
        encode(value, of: key, into: &valueBytes)
        let element = NFElement(
            key: keyBytes, keyEnd: encodeEnd(key), data: valueBytes.isEmpty ? .none : .value(valueBytes))
        // A range to the last address there is has no first one behind it.
        if case .serviceRange(let range) = key, let end = range.end { return [element, .end(end.bytes)] }
        return [element]
    }

    /// nil for an element that we never wrote.
    ///
    /// - Parameters:
    ///   - keyEnd: the last key, of a range of keys.
    func decode(
        _ set: ServiceSet, key: UnsafeRawBufferPointer, keyEnd: UnsafeRawBufferPointer? = nil,
        value: UnsafeRawBufferPointer?
    ) -> (ServiceElementKey, ServiceElementValue)? {
        var key = ByteCursor(key)
        func word(_ cursor: inout ByteCursor) -> UInt32? {
            cursor.readBytes(4)?.loadUnaligned(as: UInt32.self)
        }
        func address(_ cursor: inout ByteCursor) -> IPAddress? {
            cursor.readBytes(addressSize).flatMap(IPAddress.init(bytes:))
        }
        func readPort(_ cursor: inout ByteCursor) -> Port? {
            guard let number = cursor.readUInt16(), cursor.skip(2) else { return nil }
            return Port(number)
        }
        func readTransport(_ cursor: inout ByteCursor) -> Transport? {
            guard let number = cursor.readUInt8(), cursor.skip(3) else { return nil }
            return Transport(rawValue: number)
        }
        func dispatch() -> ServiceElementValue? {
            guard let value, value.count == 4 else { return nil }
            return .dispatch(Dispatch(rawValue: value.loadUnaligned(as: UInt32.self)))
        }
        func endpoint() -> ServiceElementValue? {
            guard var cursor = value.map(ByteCursor.init), let address = address(&cursor), let port = readPort(&cursor)
            else { return nil }
            return .endpoint(address, port)
        }
        switch set {
        case .services, .externalServices:
            guard let address = address(&key), let transport = readTransport(&key), let port = readPort(&key),
                let dispatch = dispatch()
            else { return nil }
            return (
                set == .services ? .service(address, transport, port) : .externalService(address, transport, port),
                dispatch
            )
        case .nodePorts, .externalNodePorts:
            guard let transport = readTransport(&key), let port = readPort(&key), let dispatch = dispatch() else {
                return nil
            }
            return (set == .nodePorts ? .nodePort(transport, port) : .externalNodePort(transport, port), dispatch)
        case .endpoints:
            guard let list = word(&key), let slot = word(&key), let endpoint = endpoint() else { return nil }
            return (.endpoint(list: list >> Dispatch.listShift, slot: slot), endpoint)
        case .stickySlots:
            guard let list = word(&key), let slot = word(&key), let value, value.count == 4 else { return nil }
            let member = value.loadUnaligned(as: UInt32.self)
            guard (member ^ list) & Dispatch.listMask == 0 else { return nil }
            return (
                .stickySlot(list: list >> Dispatch.listShift, slot: slot), .member(member & ~Dispatch.listMask)
            )
        case .stickyMembers:
            guard let member = word(&key), let endpoint = endpoint() else { return nil }
            return (
                .stickyMember(list: member >> Dispatch.listShift, number: member & ~Dispatch.listMask), endpoint
            )
        case .allowedSources:
            guard let frontend = address(&key), let transport = readTransport(&key), let port = readPort(&key),
                let first = address(&key), var end = keyEnd.map(ByteCursor.init), address(&end) == frontend,
                let sameTransport = readTransport(&end), sameTransport == transport,
                let samePort = readPort(&end), samePort == port, let last = address(&end)
            else { return nil }
            let sources = AddressRange(first, last)
            return (
                .allowedSource(.init(address: frontend, transport: transport, port: port, sources: sources)), .present
            )
        // Boundaries, of which two make a range: `serviceRanges`.
        case .serviceRanges: return nil
        case .clusterIPs: return address(&key).map { (.clusterIP($0), .present) }
        case .nodeAddresses: return address(&key).map { (.nodeAddress($0), .present) }
        case .hairpins:
            guard let first = address(&key), let second = address(&key), first == second else { return nil }
            return (.hairpin(first), .present)
        }
    }

    /// The ranges that the boundaries in a set of ranges make, whatever their order.
    func serviceRanges(_ boundaries: [NFElement]) -> [ServiceElementKey] {
        let sorted = boundaries.compactMap { element in
            element.key.withUnsafeBytes { IPAddress(bytes: $0) }.map { (address: $0, isEnd: element.isIntervalEnd) }
        }.sorted { $0.address < $1.address }
        return sorted.indices.compactMap { index in
            let first = sorted[index].address
            guard !sorted[index].isEnd else { return nil }
            let next = index + 1 < sorted.count ? sorted[index + 1].address : nil
            let range = next.map { AddressRange(first, before: $0) } ?? AddressRange.from(first)
            return range.map { .serviceRange($0) }
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

    private func append(_ source: AllowedSource, _ address: IPAddress, to bytes: inout [UInt8]) {
        append(source.address, to: &bytes)
        append(source.transport, source.port, to: &bytes)
        append(address, to: &bytes)
    }

    private func append(_ word: UInt32, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: word) { bytes.append(contentsOf: $0) }
    }
}
