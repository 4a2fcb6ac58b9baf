import Bytes

/// `bench-proxy soak`: how long, and whom.
struct SoakOptions: Sendable {
    var proxy: Contestant = .weft
    var seconds = 20
    var seed: UInt64 = 1
    var wantsJSON = false
    /// The paths of the programs, as the benchmark finds them.
    var programs: Options

    static let usage = """
        usage: bench-proxy soak [--seconds 20] [--proxy weft|envoy] [--weft-proxy PATH] [--envoy PATH] [--seed 1] [--json]
          mixed requests, while backends are killed and started again and the configuration is rewritten; ends with 1 when a
          request failed that the retry policy should have covered
        """

    init(_ arguments: some Sequence<String>) throws {
        var rest = Array(arguments)[...]
        var others: [String] = []
        while let flag = rest.popFirst() {
            func word() throws -> String {
                guard let value = rest.popFirst() else { throw OptionError("\(flag) needs a value") }
                return value
            }
            func number() throws -> UInt32 {
                let text = try word()
                guard let value = UInt32(decimal: text.utf8) else {
                    throw OptionError("\(flag): \"\(text)\" is no number")
                }
                return value
            }
            switch flag {
            case "--seconds": seconds = max(5, Int(try number()))
            case "--seed": seed = UInt64(try number())
            case "--json": wantsJSON = true
            case "--proxy":
                let name = try word()
                guard let peer = Contestant(rawValue: name), peer == .weft || peer == .envoy else {
                    throw OptionError("--proxy: \"\(name)\" is neither weft nor envoy")
                }
                proxy = peer
            case "--weft-proxy", "--envoy": others += [flag, try word()]
            default: throw OptionError("unknown flag \(flag)")
            }
        }
        programs = try Options(others)
    }
}
