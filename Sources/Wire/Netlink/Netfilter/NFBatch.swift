/// One transaction: changes that the kernel makes all together or not at all.
///
/// Elements are written straight into the buffer that is sent, many to a message; `elementWrites` counts them. Each
/// message keeps what it was for, so that the kernel's errors are told by object.
public struct NFBatch: Sendable {
    public enum Verb: Sendable {
        /// Existing is no error, unless it is different.
        case add
        /// Existing is an error (EEXIST).
        case create
        /// Absence is an error (ENOENT) that fails the whole batch.
        case delete
        /// Absence is no error (Linux 6.3).
        case destroy

        var flags: NetlinkFlags {
            switch self {
            case .add: .create
            case .create: [.create, .exclusive]
            case .delete, .destroy: []
            }
        }
    }

    /// A message with more elements ends, and another begins: a nest holds less than 64 KiB.
    static let elementBytesPerMessage = 60_000

    var writer = NetlinkWriter()
    /// What each message is for, by its number in the batch; rendered only for errors.
    private(set) var subjects: [Subject] = []
    private(set) var lastStart = 0
    private var open: OpenElements?
    public private(set) var elementWrites = 0

    struct Subject: Sendable {
        var verb: String
        var what: String
        var elements = 0

        var text: String { elements > 1 ? "\(verb) \(elements) elements of \(what)" : "\(verb) \(what)" }
    }

    private struct OpenElements {
        var verb: Verb
        var set: NFSetName
        var message: Int
        var list: Int
    }

    public init() {}

    /// Messages so far.
    public var count: Int { subjects.count }
    public var isEmpty: Bool { subjects.isEmpty }
    /// Bytes so far.
    public var size: Int { writer.count }

    // MARK: Tables

    public mutating func add(_ table: NFTable) { put(.add, table) }
    public mutating func create(_ table: NFTable) { put(.create, table) }
    /// With all that is in it.
    public mutating func delete(_ table: NFTableName) { remove(.delete, table) }
    public mutating func destroy(_ table: NFTableName) { remove(.destroy, table) }

    private mutating func put(_ verb: Verb, _ table: NFTable) {
        message(verb, NFTMessage.newTable, table.id.family, "table \(table.id)") { table.encode(into: &$0) }
    }

    private mutating func remove(_ verb: Verb, _ table: NFTableName) {
        let type = verb == .destroy ? NFTMessage.destroyTable : NFTMessage.delTable
        message(verb, type, table.family, "table \(table)") { $0.attribute(NFTA.Table.name, table.name) }
    }

    // MARK: Chains

    public mutating func add(_ chain: NFChain) { put(.add, chain) }
    public mutating func create(_ chain: NFChain) { put(.create, chain) }
    /// Rules of the chain go with it; it must not be jumped to any more (EBUSY).
    public mutating func delete(_ chain: NFChainName) { remove(.delete, chain) }
    public mutating func destroy(_ chain: NFChainName) { remove(.destroy, chain) }

    private mutating func put(_ verb: Verb, _ chain: NFChain) {
        message(verb, NFTMessage.newChain, chain.id.table.family, "chain \(chain.id)") { chain.encode(into: &$0) }
    }

    private mutating func remove(_ verb: Verb, _ chain: NFChainName) {
        let type = verb == .destroy ? NFTMessage.destroyChain : NFTMessage.delChain
        message(verb, type, chain.table.family, "chain \(chain)") { writer in
            writer.attribute(NFTA.Chain.table, chain.table.name)
            writer.attribute(NFTA.Chain.name, chain.name)
        }
    }

    // MARK: Rules

    /// At the end of its chain.
    public mutating func append(_ rule: NFRule) { put("add", rule, [.create, .append]) }
    /// At the beginning of its chain.
    public mutating func insert(_ rule: NFRule) { put("insert", rule, [.create]) }
    /// In the place of the one with the same handle.
    public mutating func replace(_ rule: NFRule) { put("replace", rule, [.replace]) }

    private mutating func put(_ verb: String, _ rule: NFRule, _ flags: NetlinkFlags) {
        message(verb, flags, NFTMessage.newRule, rule.chain.table.family, "rule in \(rule.chain)") {
            rule.encode(into: &$0)
        }
    }

    public mutating func deleteRule(_ handle: UInt64, in chain: NFChainName) {
        message(.delete, NFTMessage.delRule, chain.table.family, "rule \(handle) of \(chain)") { writer in
            writer.attribute(NFTA.Rule.table, chain.table.name)
            writer.attribute(NFTA.Rule.chain, chain.name)
            writer.attribute(NFTA.Rule.handle, bigEndian: handle)
        }
    }

    /// Takes all rules out of a chain.
    public mutating func flush(_ chain: NFChainName) {
        message(.delete, NFTMessage.delRule, chain.table.family, "rules of \(chain)") { writer in
            writer.attribute(NFTA.Rule.table, chain.table.name)
            writer.attribute(NFTA.Rule.chain, chain.name)
        }
    }

    // MARK: Sets

    public mutating func add(_ set: NFSet) { put(.add, set) }
    public mutating func create(_ set: NFSet) { put(.create, set) }
    /// It must not be used by a rule any more (EBUSY).
    public mutating func delete(_ set: NFSetName) { remove(.delete, set) }
    public mutating func destroy(_ set: NFSetName) { remove(.destroy, set) }

    private mutating func put(_ verb: Verb, _ set: NFSet) {
        let batchID = UInt32(count + 1)
        message(verb, NFTMessage.newSet, set.id.table.family, "set \(set.id)") {
            set.encode(into: &$0, batchID: batchID)
        }
    }

    private mutating func remove(_ verb: Verb, _ set: NFSetName) {
        let type = verb == .destroy ? NFTMessage.destroySet : NFTMessage.delSet
        message(verb, type, set.table.family, "set \(set)") { writer in
            writer.attribute(NFTA.Set.table, set.table.name)
            writer.attribute(NFTA.Set.name, set.name)
        }
    }

    // MARK: Objects

    public mutating func add(_ object: NFObject) {
        message(.add, NFTMessage.newObject, object.table.family, "object \(object.table) \(object.name)") {
            object.encode(into: &$0)
        }
    }

    public mutating func delete(_ kind: NFObject.Kind, _ name: String, in table: NFTableName) {
        message(.delete, NFTMessage.delObject, table.family, "object \(table) \(name)") { writer in
            writer.attribute(NFTA.Object.table, table.name)
            writer.attribute(NFTA.Object.name, name)
            writer.attribute(NFTA.Object.type, bigEndian: kind.rawValue)
        }
    }

    // MARK: Elements

    public mutating func element(_ verb: Verb, _ element: NFElement, in set: NFSetName) {
        beginElement(verb, set)
        writer.nest(NFTA.listElement) { element.encode(into: &$0) }
        endElement()
    }

    /// The short way for hash sets and maps: key, and data or none, as register bytes.
    public mutating func element(
        _ verb: Verb, key: UnsafeRawBufferPointer, data: UnsafeRawBufferPointer? = nil, in set: NFSetName
    ) {
        beginElement(verb, set)
        let element = writer.beginNest(1)
        let keyNest = writer.beginNest(1)
        writer.attribute(1, key)
        writer.endNest(keyNest)
        if let data {
            let dataNest = writer.beginNest(2)
            writer.attribute(1, data)
            writer.endNest(dataNest)
        }
        writer.endNest(element)
        endElement()
    }

    /// Takes all elements out of a set.
    public mutating func flush(_ set: NFSetName) {
        message(.delete, NFTMessage.delElement, set.table.family, "all elements of \(set)") { writer in
            writer.attribute(NFTA.Elements.table, set.table.name)
            writer.attribute(NFTA.Elements.set, set.name)
        }
    }

    private mutating func beginElement(_ verb: Verb, _ set: NFSetName) {
        if let open, open.verb == verb, open.set == set, writer.count - open.list < Self.elementBytesPerMessage {
            return
        }
        let type =
            switch verb {
            case .add, .create: NFTMessage.newElement
            case .delete: NFTMessage.delElement
            case .destroy: NFTMessage.destroyElement
            }
        let start = begin(type, verb.flags, set.table.family, Subject(verb: "\(verb)", what: "set \(set)"))
        writer.attribute(NFTA.Elements.table, set.table.name)
        writer.attribute(NFTA.Elements.set, set.name)
        open = OpenElements(verb: verb, set: set, message: start, list: writer.beginNest(NFTA.Elements.list))
    }

    private mutating func endElement() {
        elementWrites += 1
        subjects[subjects.count - 1].elements += 1
    }

    // MARK: -

    private mutating func message(
        _ verb: Verb, _ type: UInt16, _ family: NFFamily, _ what: String, _ body: (inout NetlinkWriter) -> Void
    ) {
        message("\(verb)", verb.flags, type, family, what, body)
    }

    private mutating func message(
        _ verb: String, _ flags: NetlinkFlags, _ type: UInt16, _ family: NFFamily, _ what: String,
        _ body: (inout NetlinkWriter) -> Void
    ) {
        let start = begin(type, flags, family, Subject(verb: verb, what: what))
        body(&writer)
        writer.endMessage(start)
    }

    /// Sequence numbers are the message's number in the batch until it is sent.
    private mutating func begin(_ type: UInt16, _ flags: NetlinkFlags, _ family: NFFamily, _ subject: Subject) -> Int {
        closeElements()
        let start = writer.beginMessage(
            type: NFNL.nftables | type, flags: [flags, .request], sequence: UInt32(subjects.count))
        writer.netfilterHeader(family.rawValue)
        subjects.append(subject)
        lastStart = start
        return start
    }

    private mutating func closeElements() {
        guard let open else { return }
        writer.endNest(open.list)
        writer.endMessage(open.message)
        self.open = nil
    }

    /// The datagram: begin, the messages numbered from `first` + 1, end. The last message asks for an answer.
    func framed(first: UInt32, generation: UInt32?, echo: Bool) -> NetlinkWriter {
        var body = self
        body.closeElements()
        var frame = NetlinkWriter(reserving: body.writer.count + 64)
        let begin = frame.beginMessage(type: NFNL.batchBegin, flags: .request, sequence: first)
        frame.netfilterHeader(0, resource: NFNL.nftables >> 8)
        if let generation { frame.attribute(NFNL.batchGeneration, bigEndian: generation) }
        frame.endMessage(begin)
        let shift = frame.count
        body.writer.bytes.withUnsafeBytes { frame.put($0) }
        var offset = shift
        for number in 0..<subjects.count {
            let isLast = number == subjects.count - 1
            let length = frame.renumber(at: offset, first &+ 1 &+ UInt32(number), ack: isLast, echo: echo)
            offset += (length + 3) & ~3
        }
        let end = frame.beginMessage(
            type: NFNL.batchEnd, flags: .request, sequence: first &+ 1 &+ UInt32(subjects.count))
        frame.netfilterHeader(0, resource: NFNL.nftables >> 8)
        frame.endMessage(end)
        if body.writer.overflowed { frame.refuse() }
        return frame
    }
}

extension NetlinkWriter {
    /// `nfgenmsg`.
    mutating func netfilterHeader(_ family: UInt8, resource: UInt16 = 0) {
        put(family)
        put(UInt8(0))
        put(resource.bigEndian)
    }

    /// Gives the message at `offset` its final sequence number; its length.
    fileprivate mutating func renumber(at offset: Int, _ sequence: UInt32, ack: Bool, echo: Bool) -> Int {
        bytes.withUnsafeMutableBytes { bytes in
            bytes.storeBytes(of: sequence, toByteOffset: offset + 8, as: UInt32.self)
            if ack || echo {
                var flags = bytes.loadUnaligned(fromByteOffset: offset + 6, as: UInt16.self)
                if ack { flags |= NetlinkFlags.ack.rawValue }
                if echo { flags |= NetlinkFlags.echo.rawValue }
                bytes.storeBytes(of: flags, toByteOffset: offset + 6, as: UInt16.self)
            }
            return Int(bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
    }
}
