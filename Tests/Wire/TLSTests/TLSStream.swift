import Bytes
import Glibc
import Reactor
import Testing

@testable import TLS

/// A session on a socket, for tests with other programs: answers what `respond` says to the first plaintext, and closes.
final class TLSStream: StreamHandler, @unchecked Sendable {
    let session: TLSSession
    let outcome = Promise<String>()
    private let request: String
    private let respond: @Sendable (TLSSession, String) -> String
    private var received = ""
    private var hasAsked = false

    /// A client sends `request` once the handshake is done; its outcome is all that comes back. A server's is what it was
    /// sent first. Either's is the error where the handshake fails.
    init(
        _ session: TLSSession, request: String = "",
        respond: @escaping @Sendable (TLSSession, String) -> String = { _, _ in "" }
    ) {
        self.session = session
        self.request = request
        self.respond = respond
    }

    override func streamDidConnect(_ stream: StreamSocket) {
        try? session.start()
        flush(stream)
    }

    override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
        do {
            var rest = bytes
            while true {
                let taken = try session.receive(rest) {
                    received += String(decoding: $0, as: UTF8.self)
                    return true
                }
                rest = UnsafeRawBufferPointer(rebasing: rest[taken...])
                if rest.isEmpty || taken == 0 { break }
            }
            if session.isEstablished, !hasAsked {
                hasAsked = true
                try send(request)
            }
            if request.isEmpty, !received.isEmpty {
                try send(respond(session, received))
                session.sendClose()
                finish(received)
            }
            flush(stream)
            if session.isPeerClosed { finish(received) }
            if outcome.result != nil { stream.closeAfterWrite() }
        } catch {
            flush(stream)
            finish("\(error)")
            stream.closeAfterWrite()
        }
        return bytes.count
    }

    override func streamDidClose(_ stream: StreamSocket, _ error: SystemError?) { finish(received) }

    private func send(_ text: String) throws { try Array(text.utf8).withUnsafeBytes { _ = try session.send($0) } }

    private func finish(_ text: String) {
        if outcome.result == nil { outcome.succeed(text) }
    }

    private func flush(_ stream: StreamSocket) {
        session.withOutput { output in
            stream.write(output)
            return output.count
        }
    }
}
