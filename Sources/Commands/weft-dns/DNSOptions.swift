import Flags

/// The command line, in Go's form as CoreDNS has it: one dash or two, `-name value` or `-name=value`.
struct DNSOptions: Sendable {
    var corefile: String?
    var port: UInt16 = 53
    /// Loops; 0 is one a core.
    var loops = 0
    var wantsHelp = false
    var wantsVersion = false

    static let usage = """
        usage: weft-dns [-conf FILE] [-dns.port PORT] [-loops N]
          -conf FILE       the Corefile (default: Corefile in the working directory)
          -dns.port PORT   the port of server blocks that name none (default 53)
          -loops N         threads that serve (default: one a core)
          -version, -help

        """

    init(_ arguments: some Sequence<String>) throws(FlagError) {
        var reader = FlagReader(arguments)
        while let name = try reader.nextName() {
            switch name.drop(while: { $0 == "-" }) {
            case "conf": corefile = try reader.value()
            case "dns.port", "p": port = UInt16(try reader.number(0...65535))
            case "loops": loops = try reader.number(0...64)
            case "help", "h": wantsHelp = true
            case "version": wantsVersion = true
            default: throw FlagError("unknown flag \(name)")
            }
        }
    }
}
