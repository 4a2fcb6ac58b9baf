import Bytes
import Reactor

/// Why a listener does not get an address, in Envoy's words.
enum ListenerRefusal: Error, CustomStringConvertible {
    /// The kernel refuses it: another program listens there, or we may not.
    case system(SystemError)
    /// Another of our listeners has it.
    case shared(SocketAddress, listener: String)

    var description: String {
        switch self {
        case .system(let error) where error.call == "bind":
            "cannot bind '\(error.subject)': \(SystemError.text(error.errno))"
        case .system(let error): "\(error)"
        case .shared(let address, let listener):
            "error adding listener: '\(listener)' has duplicate address '\(address)' as existing listener, to check if the listener has duplicated addresses with other listeners or 'enable_reuse_port' is set to 'false' for the listener"
        }
    }
}

extension ListenerSnapshot {
    /// No two listeners may have an address: the kernel would give each of them a part of the connections. Where it chooses the
    /// port, they get different ones.
    func checkAddresses(against others: some Sequence<ListenerSnapshot>) throws(ListenerRefusal) {
        for other in others where other.name != name {
            for address in addresses where other.addresses.contains(address) {
                if address.port?.rawValue == 0, bindsToPort { continue }
                throw .shared(address, listener: name)
            }
        }
    }
}
