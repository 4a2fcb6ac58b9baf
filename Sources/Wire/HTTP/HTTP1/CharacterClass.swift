/// What may stand where in HTTP/1 text (RFC 9110 §5.6.2, RFC 9112 §3.2), one byte of flags a character.
struct CharacterClasses: @unchecked Sendable {
    static let token: UInt8 = 1
    /// What a request target may hold: visible ASCII without `#`, which would start a fragment.
    static let target: UInt8 = 2
    /// What a host and port may hold.
    static let host: UInt8 = 4

    static let shared = CharacterClasses()

    /// 256 entries. Filled once, then only read, and never freed: that makes sharing it between threads sound.
    let table: UnsafePointer<UInt8>

    private init() {
        let flags = UnsafeMutablePointer<UInt8>.allocate(capacity: 256)
        flags.initialize(repeating: 0, count: 256)
        func set(_ characters: some Sequence<UInt8>, _ flag: UInt8) {
            for byte in characters { flags[Int(byte)] |= flag }
        }
        let alphanumeric = Array(48...57) + Array(65...90) + Array(97...122) as [UInt8]
        set(alphanumeric + Array("!#$%&'*+-.^_`|~".utf8), Self.token)
        set((0x21...0x7e).filter { $0 != UInt8(ascii: "#") }, Self.target)
        set(alphanumeric + Array("-._~%!$&'()*+,;=:[]".utf8), Self.host)
        table = UnsafePointer(flags)
    }
}

@inline(__always)
func isTokenCharacter(_ byte: UInt8) -> Bool { CharacterClasses.shared.table[Int(byte)] & CharacterClasses.token != 0 }

/// The index of the first control character other than TAB, or `count`; looks at eight bytes at a time.
@inline(__always)
func indexOfControl(_ base: UnsafePointer<UInt8>, from start: Int, count: Int) -> Int {
    let ones: UInt64 = 0x0101_0101_0101_0101
    let highs: UInt64 = 0x8080_8080_8080_8080
    var at = start
    while true {
        while at &+ 8 <= count {
            let word = UnsafeRawPointer(base + at).loadUnaligned(as: UInt64.self)
            // A byte below 0x20, or 0x7f: borrow and zero tests that set the byte's high bit. False hits are possible
            // above a true one only, so the lowest hit is true.
            let low = (word &- ones &* 0x20) & ~word
            let deleted = word ^ (ones &* 0x7f)
            let hits = (low | ((deleted &- ones) & ~deleted)) & highs
            if hits != 0 {
                at &+= hits.trailingZeroBitCount / 8
                break
            }
            at &+= 8
        }
        while at < count, base[at] >= 0x20, base[at] != 0x7f { at &+= 1 }
        guard at < count, base[at] == 9 else { return at }
        at &+= 1
    }
}
