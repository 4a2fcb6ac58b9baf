import Glibc

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

    init(_ arguments: some Sequence<String>) throws(OptionError) {
        var rest = Array(arguments)[...]
        while let argument = rest.popFirst() {
            guard argument.hasPrefix("-") else { throw OptionError("unexpected argument \"\(argument)\"") }
            let parts = argument.drop { $0 == "-" }.split(separator: "=", maxSplits: 1)
            let name = parts.first.map(String.init) ?? ""
            func value() throws(OptionError) -> String {
                if parts.count == 2 { return String(parts[1]) }
                guard let next = rest.popFirst() else { throw OptionError("-\(name) needs a value") }
                return next
            }
            switch name {
            case "conf": corefile = try value()
            case "dns.port", "p":
                let text = try value()
                guard let number = UInt16(text) else { throw OptionError("-\(name): \"\(text)\" is not a port") }
                port = number
            case "loops":
                let text = try value()
                guard let number = Int(text), (0...64).contains(number) else {
                    throw OptionError("-loops: \"\(text)\" is not a number of threads up to 64")
                }
                loops = number
            case "help", "h": wantsHelp = true
            case "version": wantsVersion = true
            default: throw OptionError("unknown flag -\(name)")
            }
        }
    }

    static func say(_ text: String, to descriptor: CInt = STDOUT_FILENO) {
        let bytes = Array(text.utf8)
        _ = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    }
}

struct OptionError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
