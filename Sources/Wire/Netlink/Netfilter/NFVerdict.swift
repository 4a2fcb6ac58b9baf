/// What becomes of a packet.
public enum NFVerdict: Hashable, Sendable {
    case drop
    case accept
    /// On to the next rule.
    case `continue`
    case `return`
    case jump(String)
    case goto(String)
}

extension NFVerdict {
    private var code: Int32 {
        switch self {
        case .drop: 0
        case .accept: 1
        case .continue: -1
        case .jump: -3
        case .goto: -4
        case .return: -5
        }
    }

    /// The `NFTA_DATA_VERDICT` nest.
    func encode(into writer: inout NetlinkWriter) {
        writer.nest(NFTA.Data.verdict) { verdict in
            verdict.attribute(NFTA.Verdict.code, bigEndian: code)
            switch self {
            case .jump(let chain), .goto(let chain): verdict.attribute(NFTA.Verdict.chain, chain)
            default: break
            }
        }
    }

    init?(_ attributes: NetlinkAttributes) {
        guard let code = attributes.first(NFTA.Verdict.code)?.u32BigEndian else { return nil }
        let chain = attributes.first(NFTA.Verdict.chain)?.string
        switch Int32(bitPattern: code) {
        case 0: self = .drop
        case 1: self = .accept
        case -1: self = .continue
        case -3: self = .jump(chain ?? "")
        case -4: self = .goto(chain ?? "")
        case -5: self = .return
        default: return nil
        }
    }
}
