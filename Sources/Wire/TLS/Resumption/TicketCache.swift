import COpenSSL
import Synchronization

/// The newest tickets of the servers that a client context speaks to (`max_session_keys`). A ticket is handed out once where
/// the protocol wants that (RFC 8446 appendix C.4), else until a newer one comes. Loops share it; a lock a connection.
final class TicketCache: Sendable {
    private struct Entry {
        var server: String
        var ticket: TLSTicket
    }

    private let capacity: Int
    private let entries = Mutex<[Entry]>([])

    /// `capacity` tickets over all servers; the oldest goes first.
    init(capacity: Int) { self.capacity = capacity }

    func put(_ ticket: TLSTicket, server: String) {
        entries.withLock { entries in
            if entries.count >= capacity { entries.removeFirst(entries.count - capacity + 1) }
            entries.append(Entry(server: server, ticket: ticket))
        }
    }

    /// The newest ticket of a server of this name, and no other's: a ticket says to whom we spoke.
    func take(server: String) -> TLSTicket? {
        entries.withLock { entries in
            guard let index = entries.lastIndex(where: { $0.server == server }) else { return nil }
            let ticket = entries[index].ticket
            if SSL_SESSION_get_protocol_version(ticket.raw) >= TLS1_3_VERSION { entries.remove(at: index) }
            return ticket
        }
    }
}

/// Called by OpenSSL with each ticket that a server sends; 1 keeps the reference.
let keepTicket: @convention(c) (OpaquePointer?, OpaquePointer?) -> CInt = { session, ticket in
    guard let session, let ticket, let object = weft_ssl_context_object(session),
        let cache = Unmanaged<TLSContext>.fromOpaque(object).takeUnretainedValue().tickets,
        SSL_SESSION_is_resumable(ticket) == 1
    else { return 0 }
    let server = SSL_get_servername(session, TLSEXT_NAMETYPE_host_name).map { String(cString: $0) } ?? ""
    cache.put(TLSTicket(owning: ticket), server: server)
    return 1
}
