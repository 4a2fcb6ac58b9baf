import Bytes

/// The command line of `shop`.
struct ShopOptions: Sendable {
    var listen = SocketAddress.ip(.anyV4, Port(rawValue: 8080))
    var name = "shop"
    var version = ""
    /// Of a hundred requests for `/`, those that are answered with 503.
    var failures = 0
    var wantsHelp = false

    struct Invalid: Error, CustomStringConvertible {
        var description: String
    }

    /// Takes `--flag value` and `--flag=value`.
    init(_ arguments: some Sequence<String>) throws(Invalid) {
        var rest = Array(arguments)[...]
        while let argument = rest.popFirst() {
            let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
            if argument == "--help" || argument == "-h" {
                wantsHelp = true
                continue
            }
            guard let value = parts.count == 2 ? parts[1] : rest.popFirst() else {
                throw Invalid(description: "\(argument) needs a value")
            }
            switch parts[0] {
            case "--listen":
                let text = value.hasPrefix(":") ? "0.0.0.0" + value : value
                guard let address = SocketAddress(text) else {
                    throw Invalid(
                        description: "--listen \(value): expected host:port or :port, with an address as host")
                }
                listen = address
            case "--name": name = value
            case "--version": version = value
            case "--failures":
                guard let percent = Int(value), (0...100).contains(percent) else {
                    throw Invalid(description: "--failures \(value): expected a share of a hundred")
                }
                failures = percent
            default: throw Invalid(description: "unknown flag \(parts[0])")
            }
        }
    }
}
