/// One of the sixteen four-byte registers. What is wider takes the following ones too; nothing survives a rule.
public struct NFRegister: Hashable, Sendable, ExpressibleByIntegerLiteral {
    /// 0…15.
    public var slot: UInt8

    public init(integerLiteral slot: UInt8) { self.init(slot) }

    public init(_ slot: UInt8) {
        precondition(slot < 16, "nf_tables has sixteen registers")
        self.slot = slot
    }

    /// The register behind a value of so many slots.
    public func advanced(by slots: Int) -> NFRegister { NFRegister(slot + UInt8(slots)) }

    /// `NFT_REG32_00` is 8. Those at a multiple of four are also `NFT_REG_1` … 4, which is how nft and the kernel write them.
    var wire: UInt32 { slot % 4 == 0 ? UInt32(slot / 4) + 1 : UInt32(slot) + 8 }

    init?(wire: UInt32?) {
        switch wire {
        case (let wide?) where (1...4).contains(wide): slot = UInt8(wide - 1) * 4
        case (let narrow?) where (8...23).contains(narrow): slot = UInt8(narrow - 8)
        default: return nil
        }
    }
}
