import Bytes
import Flags

/// The command line of `shop`.
struct ShopOptions: Sendable {
    var listen = SocketAddress.ip(.anyV4, Port(rawValue: 8080))
    var name = "shop"
    var version = ""
    /// Of a hundred requests for `/`, those that are answered with 503.
    var failures = 0
    var wantsHelp = false

    init(_ arguments: some Sequence<String>) throws(FlagError) {
        var reader = FlagReader(arguments)
        while let name = try reader.nextName() {
            switch name {
            case "--help", "-h": wantsHelp = true
            case "--listen":
                let value = try reader.value()
                let text = value.hasPrefix(":") ? "0.0.0.0" + value : value
                guard let address = SocketAddress(text) else {
                    throw FlagError("--listen \(value): expected host:port or :port, with an address as host")
                }
                listen = address
            case "--name": self.name = try reader.value()
            case "--version": version = try reader.value()
            case "--failures": failures = try reader.number(0...100)
            default: throw FlagError("unknown flag \(name)")
            }
        }
    }
}
