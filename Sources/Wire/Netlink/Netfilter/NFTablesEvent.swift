/// What changed in nftables, or what a dump brought: one message as a value.
public enum NFTablesEvent: Hashable, Sendable {
    case table(NFTable)
    case tableGone(NFTable)
    case chain(NFChain)
    case chainGone(NFChain)
    case rule(NFRule)
    case ruleGone(NFRule)
    case set(NFSet)
    case setGone(NFSet)
    case elements(NFSetName, [NFElement])
    case elementsGone(NFSetName, [NFElement])
    case object(NFObject)
    case objectGone(NFObject)
    /// A transaction was committed; it follows the changes that it made.
    case generation(NFGeneration)

    /// nil for what is of no interest here, and for malformed messages.
    public init?(_ message: NetlinkMessage) {
        guard message.type & 0xFF00 == NFNL.nftables, message.payload.count >= NFNL.headerSize,
            let family = NFFamily(rawValue: message.payload[0])
        else { return nil }
        let attributes = message.attributes(after: NFNL.headerSize)
        func some<Value>(_ value: Value?, _ make: (Value) -> NFTablesEvent) -> NFTablesEvent? { value.map(make) }
        let event: NFTablesEvent? =
            switch message.type & 0xFF {
            case NFTMessage.newTable: some(NFTable(family, attributes), NFTablesEvent.table)
            case NFTMessage.delTable, NFTMessage.destroyTable:
                some(NFTable(family, attributes), NFTablesEvent.tableGone)
            case NFTMessage.newChain: some(NFChain(family, attributes), NFTablesEvent.chain)
            case NFTMessage.delChain, NFTMessage.destroyChain:
                some(NFChain(family, attributes), NFTablesEvent.chainGone)
            case NFTMessage.newRule: some(NFRule(family, attributes), NFTablesEvent.rule)
            case NFTMessage.delRule, NFTMessage.destroyRule:
                some(NFRule(family, attributes), NFTablesEvent.ruleGone)
            case NFTMessage.newSet: some(NFSet(family, attributes), NFTablesEvent.set)
            case NFTMessage.delSet, NFTMessage.destroySet: some(NFSet(family, attributes), NFTablesEvent.setGone)
            case NFTMessage.newElement: Self.elements(family, attributes).map { .elements($0, $1) }
            case NFTMessage.delElement, NFTMessage.destroyElement:
                Self.elements(family, attributes).map { .elementsGone($0, $1) }
            case NFTMessage.newObject: some(NFObject(family, attributes), NFTablesEvent.object)
            case NFTMessage.delObject, NFTMessage.destroyObject:
                some(NFObject(family, attributes), NFTablesEvent.objectGone)
            case NFTMessage.newGeneration: some(NFGeneration(attributes), NFTablesEvent.generation)
            default: nil
            }
        guard let event else { return nil }
        self = event
    }

    private static func elements(_ family: NFFamily, _ attributes: NetlinkAttributes) -> (NFSetName, [NFElement])? {
        guard let table = attributes.first(NFTA.Elements.table)?.string,
            let set = attributes.first(NFTA.Elements.set)?.string
        else { return nil }
        var elements: [NFElement] = []
        attributes.forEachElement { view in
            if let element = NFElement(view) { elements.append(element) }
        }
        return (NFSetName(NFTableName(family, table), set), elements)
    }
}

extension NetlinkAttributes {
    func forEachElement(_ visit: (NFElementView) -> Void) {
        guard let list = first(NFTA.Elements.list)?.nested else { return }
        for attribute in list where attribute.type == NFTA.listElement {
            if let view = NFElementView(attribute.nested) { visit(view) }
        }
    }
}

/// The number of committed transactions in this network namespace, and whose the last one was.
public struct NFGeneration: Hashable, Sendable {
    public var id: UInt32
    public var processID: UInt32
    public var processName: String

    init?(_ attributes: NetlinkAttributes) {
        guard let id = attributes.first(NFTA.Generation.id)?.u32BigEndian else { return nil }
        self.id = id
        processID = attributes.first(NFTA.Generation.processID)?.u32BigEndian ?? 0
        processName = attributes.first(NFTA.Generation.processName)?.string ?? ""
    }
}

/// What happened to a table, without the objects' content: for whoever only wants to know that somebody touched it.
public struct NFTableTouch: Hashable, Sendable {
    public var table: NFTableName
    /// The table itself is gone.
    public var isTableGone: Bool

    /// nil for messages that are not about an object of a table.
    public init?(_ message: NetlinkMessage) {
        guard message.type & 0xFF00 == NFNL.nftables, message.payload.count >= NFNL.headerSize,
            let family = NFFamily(rawValue: message.payload[0]), message.type & 0xFF != NFTMessage.newGeneration,
            // The table's name is attribute 1 of every object.
            let name = message.attributes(after: NFNL.headerSize).first(1)?.string
        else { return nil }
        table = NFTableName(family, name)
        isTableGone = [NFTMessage.delTable, NFTMessage.destroyTable].contains(message.type & 0xFF)
    }
}
