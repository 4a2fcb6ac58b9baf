import Glibc
import Reactor
import TLS

/// Why a connection to a host did not come to be, in Envoy's words (`%UPSTREAM_TRANSPORT_FAILURE_REASON%`).
enum TransportFailure {
    static func text(_ error: any Error) -> String {
        if let error = error as? TLSError { return error.transportReason }
        guard let error = error as? SystemError else { return "\(error)" }
        // Envoy's own timer ends such a connection, and knows of no reason.
        guard error.errno != ETIMEDOUT else { return "" }
        return "delayed_connect_error: \(String(cString: strerror(error.errno)))"
    }
}
