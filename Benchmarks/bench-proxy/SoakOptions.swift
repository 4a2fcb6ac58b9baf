import Flags

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
          request failed that the retry policy should have covered, or when after four minutes or more its memory does not end
          where it was after the first
        """

    init(_ arguments: some Sequence<String>) throws {
        var reader = FlagReader(arguments)
        var others: [String] = []
        while let flag = try reader.nextName() {
            switch flag {
            case "--seconds": seconds = try reader.number(5...86_400)
            case "--seed": seed = UInt64(try reader.number(0...Int(Int32.max)))
            case "--json": wantsJSON = true
            case "--proxy":
                let name = try reader.value()
                guard let peer = Contestant(rawValue: name), peer == .weft || peer == .envoy else {
                    throw OptionError("--proxy: \"\(name)\" is neither weft nor envoy")
                }
                proxy = peer
            case "--weft-proxy", "--envoy": others += [flag, try reader.value()]
            default: throw OptionError("unknown flag \(flag)")
            }
        }
        programs = try Options(others)
    }
}
