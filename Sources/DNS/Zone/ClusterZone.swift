import Bytes
import ClusterAPI
import DNSMessage

/// The cluster's names at one moment: what a loop answers from. Immutable.
public struct ClusterZone: Sendable {
    var options: ClusterZoneOptions
    var names = NameTable()
    /// Unix time of the last change, as zones count their versions.
    var serial: UInt32
    /// Whether Services and endpoints have been read once: before, an unknown name may only be unknown yet.
    var isComplete = false

    /// What to say to a question.
    enum Answer {
        /// Not a name of these zones, or one that falls through.
        case notOurs
        case content(DNSAnswerWriter.Content)
        /// A CNAME that leads out of the cluster: the content holds it, the rest is to be asked for.
        case chase(DNSAnswerWriter.Content, DNSName)
    }

    func answer(_ query: DNSQuery, _ message: UnsafeRawBufferPointer, rotation: Int) -> Answer {
        let wire = UnsafeRawBufferPointer(
            rebasing: message[DNSQuery.headerSize..<(DNSQuery.headerSize + query.nameLength)])
        if let node = names.find(wire) { return answer(node, query.type, wire, rotation) }
        guard let name = query.name(in: message), let zone = options.zones.first(where: name.isIn) else {
            return .notOurs
        }
        guard isComplete else { return .content(DNSAnswerWriter.Content(code: .serverFailure)) }
        if let content = podAnswer(name, zone, query.type) { return .content(content) }
        if options.fallthroughZones.contains(where: name.isIn) { return .notOurs }
        return .content(negative(.nameError, zone))
    }

    private func answer(
        _ node: ZoneNode, _ type: RecordType, _ wire: UnsafeRawBufferPointer, _ rotation: Int
    ) -> Answer {
        var content = DNSAnswerWriter.Content()
        content.rotation = rotation
        if let alias = node.alias {
            content.answers.append(.cname, ttl: options.ttl, data: alias.wire)
            guard type != .cname else { return .content(content) }
            guard options.zones.contains(where: alias.isIn) else { return .chase(content, alias) }
            if let records = names.find(alias)?.find(type) { content.answers.append(records.answers.owned(by: alias)) }
            return .content(content)
        }
        if let records = node.find(type) {
            content.answers = records.answers
            content.additionals = records.additionals
            return .content(content)
        }
        guard let name = DNSName(wire: wire), let zone = options.zones.first(where: name.isIn) else { return .notOurs }
        if name == zone, type == .soa {
            content.answers = negative(.noError, zone).authorities
            return .content(content)
        }
        return .content(negative(.noError, zone))
    }

    private func negative(_ code: ResponseCode, _ zone: DNSName) -> DNSAnswerWriter.Content {
        var content = DNSAnswerWriter.Content(code: code)
        content.authorities.append(
            authority: zone, serial: serial, ttl: min(options.ttl, 300), minimum: options.ttl)
        return content
    }

    /// `10-244-1-7.shop.pod.cluster.local` says its own address; the namespace must exist.
    private func podAnswer(_ name: DNSName, _ zone: DNSName, _ type: RecordType) -> DNSAnswerWriter.Content? {
        guard options.pods == .insecure, let parent = name.parent, let pods = parent.parent,
            pods == zone.prefixed(by: "pod"), names.find(parent) != nil, let label = name.labels.first,
            let address = address(dashed: String(decoding: label, as: UTF8.self))
        else { return nil }
        guard type == (address.family == .v4 ? .a : .aaaa) else { return negative(.noError, zone) }
        var content = DNSAnswerWriter.Content()
        content.answers.append(address, ttl: options.ttl)
        return content
    }
}

extension EncodedRecords {
    /// The same address records under a full name instead of the question's.
    func owned(by owner: DNSName) -> EncodedRecords {
        guard stride > 2 else { return .none }
        var result = EncodedRecords()
        for start in Swift.stride(from: 0, to: bytes.count, by: stride) {
            let record = Array(bytes[start..<(start + stride)])
            // After the two octets of the pointer: type, class, TTL, length, data.
            guard record.count > 12 else { return .none }
            let ttl = record[6..<10].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            let type = RecordType(rawValue: UInt16(record[2]) << 8 | UInt16(record[3]))
            result.append(type, ttl: ttl, owner: owner, data: Array(record[12...]))
        }
        return result
    }
}
