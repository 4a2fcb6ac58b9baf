import Glibc

/// The command line, in Envoy's form: `--name value` or `--name=value`.
struct ProxyOptions: Sendable {
    enum Mode: String, Sendable { case serve, validate }

    var configPath: String?
    var configYAML: String?
    var mode = Mode.serve
    /// Worker threads; 0 is one a core.
    var concurrency = 0
    var allowsUnknownStaticFields = false
    /// How long a line of an access log waits at most.
    var logInterval: Duration = .seconds(10)
    var wantsHelp = false
    var wantsVersion = false

    static let usage = """
        usage: weft-proxy -c FILE [--config-yaml YAML] [--mode serve|validate] [--concurrency N]
          -c, --config-path FILE           the bootstrap, YAML or JSON
          --config-yaml YAML               laid over the file, or used alone
          --mode MODE                      serve, or validate: read the configuration and exit
          --concurrency N                  worker threads (default: one a core)
          --file-flush-interval-msec MS    how long a line of a log waits at most (default 10000)
          --allow-unknown-static-fields    pass over fields of the bootstrap that are not known
          --version, --help

        """

    init(_ arguments: some Sequence<String>) throws(OptionError) {
        var rest = Array(arguments)[...]
        while let argument = rest.popFirst() {
            guard argument.hasPrefix("-") else { throw OptionError("unexpected argument \"\(argument)\"") }
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = parts.first.map(String.init) ?? ""
            func value() throws(OptionError) -> String {
                if parts.count == 2 { return String(parts[1]) }
                guard let next = rest.popFirst() else { throw OptionError("\(name) needs a value") }
                return next
            }
            switch name {
            case "-c", "--config-path": configPath = try value()
            case "--config-yaml": configYAML = try value()
            case "--mode":
                let text = try value()
                guard let known = Mode(rawValue: text) else {
                    throw OptionError("--mode: \"\(text)\" is neither serve nor validate")
                }
                mode = known
            case "--concurrency":
                let text = try value()
                guard let number = Int(text), (0...256).contains(number) else {
                    throw OptionError("--concurrency: \"\(text)\" is not a number of threads up to 256")
                }
                concurrency = number
            case "--file-flush-interval-msec":
                let text = try value()
                guard let number = Int(text), number > 0 else { throw OptionError("\(name): \"\(text)\" is no time") }
                logInterval = .milliseconds(number)
            case "--allow-unknown-static-fields": allowsUnknownStaticFields = true
            case "-h", "--help": wantsHelp = true
            case "--version": wantsVersion = true
            default: throw OptionError("unknown flag \(name)")
            }
        }
        guard wantsHelp || wantsVersion || configPath != nil || configYAML != nil else {
            throw OptionError("either -c or --config-yaml is needed")
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
