/// MT19937 with 32-bit output (Matsumoto and Nishimura, 1998): only to agree with programs that draw from `std::mt19937`.
/// A value of 2.5 KB that lives on the stack.
struct MersenneTwister {
    private static let size = 624
    private static let middle = 397

    private var state: InlineArray<624, UInt32>
    private var at = 0

    init(seed: UInt32) {
        var last = seed
        state = InlineArray { number in
            if number > 0 { last = 1_812_433_253 &* (last ^ last >> 30) &+ UInt32(number) }
            return last
        }
    }

    mutating func next() -> UInt32 {
        // Each word is renewed just before it is used, so that few draws cost little.
        let following = at + 1 == Self.size ? 0 : at + 1
        let mixed = state[at] & 0x8000_0000 | state[following] & 0x7FFF_FFFF
        let far = at + Self.middle < Self.size ? at + Self.middle : at + Self.middle - Self.size
        state[at] = state[far] ^ mixed >> 1 ^ (mixed & 1 == 0 ? 0 : 0x9908_B0DF)
        var word = state[at]
        at = following
        word ^= word >> 11
        word ^= word << 7 & 0x9D2C_5680
        word ^= word << 15 & 0xEFC6_0000
        return word ^ word >> 18
    }

    /// Evenly 0..<`bound`, which is above 0: in buckets of equal size, drawing again what falls beyond the last.
    mutating func below(_ bound: UInt32) -> UInt32 {
        let bucket = UInt32(truncatingIfNeeded: (UInt64(1) << 32) / UInt64(bound))
        if bound == 1 { _ = next(); return 0 }
        while true {
            let value = next() / bucket
            if value < bound { return value }
        }
    }
}
