/// A rule: expressions that run until one breaks off, in a chain.
public struct NFRule: Hashable, Sendable {
    public var chain: NFChainName
    public var expressions: [NFExpression]
    public var comment: String?
    /// The kernel's number for it, by which it is replaced or deleted; 0 before it was read back.
    public var handle: UInt64 = 0

    public init(_ chain: NFChainName, _ expressions: [NFExpression], comment: String? = nil) {
        self.chain = chain
        self.expressions = expressions
        self.comment = comment
    }

    /// The same work: handle and counted packets aside.
    public func isSameWork(as other: NFRule) -> Bool {
        chain == other.chain && comment == other.comment
            && expressions.map(\.withoutState) == other.expressions.map(\.withoutState)
    }
}

extension NFRule {
    func encode(into writer: inout NetlinkWriter) {
        writer.attribute(NFTA.Rule.table, chain.table.name)
        writer.attribute(NFTA.Rule.chain, chain.name)
        if handle != 0 { writer.attribute(NFTA.Rule.handle, bigEndian: handle) }
        writer.nest(NFTA.Rule.expressions) { list in
            for expression in expressions {
                list.nest(NFTA.listElement) { expression.encode(into: &$0, family: chain.table.family) }
            }
        }
        if let comment { writer.attribute(NFTA.Rule.userdata, NFUserData.comment(comment, type: 0)) }
    }

    init?(_ family: NFFamily, _ attributes: NetlinkAttributes) {
        self.init(NFChainName(NFTableName(family, ""), ""), [])
        for attribute in attributes {
            switch attribute.type {
            case NFTA.Rule.table: chain.table.name = attribute.string ?? ""
            case NFTA.Rule.chain: chain.name = attribute.string ?? ""
            case NFTA.Rule.handle: handle = attribute.u64BigEndian ?? 0
            case NFTA.Rule.expressions:
                for element in attribute.nested where element.type == NFTA.listElement {
                    guard let expression = NFExpression(element.nested) else { return nil }
                    expressions.append(expression)
                }
            case NFTA.Rule.userdata: comment = NFUserData.comment(in: attribute.value, type: 0)
            default: break
            }
        }
        guard !chain.name.isEmpty else { return nil }
    }
}
