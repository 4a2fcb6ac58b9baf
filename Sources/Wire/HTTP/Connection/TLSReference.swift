import Synchronization
import TLS

/// The context that new connections use; replaced as a whole when a certificate is renewed.
final class TLSReference: Sendable {
    private let current: Mutex<TLSContext?>
    init(_ context: TLSContext?) { current = Mutex(context) }
    /// Taken once a connection, not once a request.
    var value: TLSContext? { current.withLock { $0 } }
    func replace(_ context: TLSContext) { current.withLock { $0 = context } }
}
