import Glibc

/// nftables of one network namespace: transactions in, what is there out.
///
/// Plain calls; see `NetlinkConnection` for what they can wait for. Belongs to one thread, or loop, at a time.
public final class NFTablesConnection {
    /// The multicast group of all changes.
    public static let notificationGroup: UInt32 = 7

    private let connection: NetlinkConnection

    /// Opens in the calling thread's namespace, or in the one behind `namespace` (an open descriptor, borrowed).
    public init(namespace: CInt? = nil) throws(NetlinkError) {
        connection = try NetlinkConnection(.netfilter, namespace: namespace)
    }

    /// Our netlink port: notifications of our own changes bear it.
    public var portID: UInt32 { connection.portID }

    /// Listens to all changes of that namespace.
    public static func subscribe(namespace: CInt? = nil) throws(NetlinkError) -> NetlinkSubscription {
        try NetlinkSubscription(.netfilter, groups: [notificationGroup], namespace: namespace)
    }

    // MARK: Writing

    /// Makes all of the batch's changes, or throws and made none. `generation`: only if nobody in this namespace has
    /// committed since. With `echo` the kernel sends the made objects back, with their handles.
    @discardableResult
    public func commit(_ batch: NFBatch, generation: UInt32? = nil, echo: Bool = false)
        throws(NFBatchError) -> [NFTablesEvent]
    {
        guard !batch.isEmpty else { return [] }
        let first = connection.takeSequences(batch.count + 2)
        var failures: [(number: UInt32, error: NetlinkError)] = []
        var events: [NFTablesEvent] = []
        var isAcknowledged = false
        do throws(NetlinkError) {
            try connection.send(
                batch.framed(first: first, generation: generation, echo: echo), subject: "send a batch")
            // The kernel has worked by now, and what it has to say waits. Silence means that it threw the batch away
            // without a word, as it does with one that it cannot parse.
            while let messages = try connection.receiveWaiting(subject: "read the answer to a batch") {
                for message in messages {
                    let number = message.sequence &- first
                    guard number <= UInt32(batch.count) + 1 else { continue }
                    guard let verdict = NetlinkAcknowledgement(message) else {
                        if let event = NFTablesEvent(message) { events.append(event) }
                        continue
                    }
                    let index = Int(number) - 1
                    let subject = batch.subjects.indices.contains(index) ? batch.subjects[index].text : "the batch"
                    if let error = verdict.error(subject) {
                        failures.append((number, error))
                    } else if index == batch.count - 1 {
                        isAcknowledged = true
                    }
                }
            }
        } catch {
            throw NFBatchError(failures: failures.map(\.error) + [error])
        }
        guard failures.isEmpty else {
            throw NFBatchError(failures: failures.sorted { $0.number < $1.number }.map(\.error))
        }
        guard isAcknowledged else {
            throw NFBatchError(failures: [NetlinkError(errno: ETIMEDOUT, subject: "the batch", text: "no answer")])
        }
        return events
    }

    // MARK: Reading

    /// Of the whole namespace, other tables included.
    public func generation() throws(NetlinkError) -> NFGeneration {
        var writer = NetlinkWriter()
        writer.netfilterHeader(0)
        let replies = try connection.perform(
            NetlinkRequest(
                type: NFNL.nftables | NFTMessage.getGeneration, body: writer.bytes, subject: "read the generation"))
        for reply in replies {
            let generation = reply.payload.withUnsafeBytes { bytes in
                bytes.count < NFNL.headerSize
                    ? nil : NFGeneration(NetlinkAttributes(UnsafeRawBufferPointer(rebasing: bytes[NFNL.headerSize...])))
            }
            if let generation { return generation }
        }
        throw NetlinkError(errno: EBADMSG, subject: "read the generation")
    }

    public func tables(_ family: NFFamily = .unspecified) throws(NetlinkError) -> [NFTable] {
        try list(NFTMessage.getTable, family, "tables") { if case .table(let table) = $0 { table } else { nil } }
    }

    public func table(_ name: NFTableName) throws(NetlinkError) -> NFTable? {
        try tables(name.family).first { $0.id == name }
    }

    public func chains(in table: NFTableName) throws(NetlinkError) -> [NFChain] {
        try list(NFTMessage.getChain, table.family, "chains of \(table)") { event in
            if case .chain(let chain) = event, chain.id.table == table { chain } else { nil }
        }
    }

    public func sets(in table: NFTableName) throws(NetlinkError) -> [NFSet] {
        try list(NFTMessage.getSet, table.family, "sets of \(table)", [(NFTA.Set.table, table.name)]) { event in
            if case .set(let set) = event, set.id.table == table { set } else { nil }
        }
    }

    /// In their order.
    public func rules(in table: NFTableName, chain: String? = nil) throws(NetlinkError) -> [NFRule] {
        var filter = [(NFTA.Rule.table, table.name)]
        if let chain { filter.append((NFTA.Rule.chain, chain)) }
        return try list(NFTMessage.getRule, table.family, "rules of \(table)", filter) { event in
            if case .rule(let rule) = event, rule.chain.table == table { rule } else { nil }
        }
    }

    public func objects(in table: NFTableName) throws(NetlinkError) -> [NFObject] {
        try list(NFTMessage.getObject, table.family, "objects of \(table)", [(NFTA.Object.table, table.name)]) {
            event in
            if case .object(let object) = event, object.table == table { object } else { nil }
        }
    }

    public func elements(of set: NFSetName) throws(NetlinkError) -> [NFElement] {
        var elements: [NFElement] = []
        try forEachElement(of: set, restart: { elements.removeAll(keepingCapacity: true) }) { view in
            if let element = NFElement(view) { elements.append(element) }
        }
        return elements
    }

    /// Shows each element in place. When the set changed under the dump, `restart` is called and it begins again.
    ///
    /// A hash table that has just been filled grows in the background for some milliseconds. A dump meanwhile can show
    /// an element twice and miss another; the kernel gives no sign of it.
    public func forEachElement(of set: NFSetName, restart: () -> Void, _ visit: (NFElementView) -> Void)
        throws(NetlinkError)
    {
        let request = Self.request(
            NFTMessage.getElement, set.table.family, "elements of \(set)",
            [(NFTA.Elements.table, set.table.name), (NFTA.Elements.set, set.name)])
        for _ in 0..<NetlinkConnection.dumpAttempts {
            let whole = try connection.dumpOnce(request) { message in
                guard message.type == NFNL.nftables | NFTMessage.newElement else { return }
                message.attributes(after: NFNL.headerSize).forEachElement(visit)
            }
            if whole { return }
            restart()
        }
        throw NetlinkError(errno: EINTR, subject: request.subject, text: "it changes faster than it can be read")
    }

    /// Elements of one set are asked for by key in messages of so many: their answers fit into any receive buffer.
    private static let keysPerRequest = 128

    /// Shows, in place, the elements of a hash set that have these keys: each is found by its hash, so that the cost grows with their
    /// number, where a dump's grows with its square (each part of a dump walks the table from its beginning).
    ///
    /// - Parameter keys: register bytes, one key after the other, each of `keySize` bytes.
    /// - Returns: false when one of them is not there; then not all others were shown.
    public func forEachElement(
        of set: NFSetName, keys: UnsafeRawBufferPointer, keySize: Int, _ visit: (NFElementView) -> Void
    ) throws(NetlinkError) -> Bool {
        let subject = "elements of \(set) by key"
        for first in stride(from: 0, to: keys.count, by: keySize * Self.keysPerRequest) {
            let part = UnsafeRawBufferPointer(rebasing: keys[first...].prefix(keySize * Self.keysPerRequest))
            let sequence = connection.takeSequences(1)
            try connection.send(Self.get(part, keySize, of: set, sequence), subject: subject)
            var verdict: NetlinkAcknowledgement?
            while verdict == nil {
                for message in try connection.receive(subject: subject) where message.sequence == sequence {
                    if message.type == NFNL.nftables | NFTMessage.newElement {
                        message.attributes(after: NFNL.headerSize).forEachElement(visit)
                    } else {
                        verdict = NetlinkAcknowledgement(message) ?? verdict
                    }
                }
            }
            if verdict?.errno == ENOENT { return false }
            if let error = verdict?.error(subject) { throw error }
        }
        return true
    }

    private static func get(_ keys: UnsafeRawBufferPointer, _ keySize: Int, of set: NFSetName, _ sequence: UInt32)
        -> NetlinkWriter
    {
        var writer = NetlinkWriter()
        let start = writer.beginMessage(
            type: NFNL.nftables | NFTMessage.getElement, flags: [.request, .ack], sequence: sequence)
        writer.netfilterHeader(set.table.family.rawValue)
        writer.attribute(NFTA.Elements.table, set.table.name)
        writer.attribute(NFTA.Elements.set, set.name)
        let list = writer.beginNest(NFTA.Elements.list)
        for offset in stride(from: 0, to: keys.count, by: keySize) {
            let key = UnsafeRawBufferPointer(rebasing: keys[offset..<offset + keySize])
            writer.nest(NFTA.listElement) { $0.nest(NFTA.Element.key) { $0.attribute(NFTA.Data.value, key) } }
        }
        writer.endNest(list)
        writer.endMessage(start)
        return writer
    }

    // MARK: -

    private static func request(
        _ type: UInt16, _ family: NFFamily, _ what: String, _ filter: [(UInt16, String)]
    ) -> NetlinkRequest {
        var writer = NetlinkWriter()
        writer.netfilterHeader(family.rawValue)
        for (attribute, name) in filter { writer.attribute(attribute, name) }
        return NetlinkRequest(type: NFNL.nftables | type, body: writer.bytes, subject: "list \(what)")
    }

    private func list<Value>(
        _ type: UInt16, _ family: NFFamily, _ what: String, _ filter: [(UInt16, String)] = [],
        _ pick: (NFTablesEvent) -> Value?
    ) throws(NetlinkError) -> [Value] {
        try connection.dump(Self.request(type, family, what, filter)) { NFTablesEvent($0).flatMap(pick) }
    }
}
