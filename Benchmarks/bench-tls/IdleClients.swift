import Bytes
import Glibc
import Reactor
import TLS

/// Opens many connections, asks once on each, says so on standard output, and waits for its end.
struct IdleClients: Sendable {
    private let port: UInt16
    private let count: Int

    init(_ options: Options) {
        port = UInt16(clamping: options.number("port", 8443))
        count = options.number("count", 1000)
    }

    func run(on loop: EventLoop) async throws {
        let context = try TLSContext(client: TLSClientConfiguration(verification: nil))
        var kept: [Client] = []
        for _ in 0..<count {
            let client = Client(try TLSSession(context))
            try await loop.perform {
                _ = try StreamSocket.connect(to: .ip(.loopbackV4, Port(port)), on: loop, handler: client)
                try await client.answered.value()
            }
            kept.append(client)
        }
        say("ready")
        for await _ in try Signals.stream([SIGTERM, SIGINT], on: loop) { break }
        withExtendedLifetime(kept) {}
    }

    private final class Client: StreamHandler, @unchecked Sendable {
        private let session: TLSSession
        let answered = Promise<Void>()
        private var hasAsked = false

        init(_ session: TLSSession) { self.session = session }

        override func streamDidConnect(_ stream: StreamSocket) {
            try? session.start()
            flush(stream)
        }

        override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
            var hasAnswer = false
            _ = try? session.receive(bytes) { _ in
                hasAnswer = true
                return true
            }
            if session.isEstablished, !hasAsked {
                hasAsked = true
                let request = Array("GET / HTTP/1.1\r\nHost: bench.test\r\n\r\n".utf8)
                _ = try? request.withUnsafeBytes { try session.send($0) }
            }
            flush(stream)
            if hasAnswer, answered.result == nil { answered.succeed(()) }
            return bytes.count
        }

        private func flush(_ stream: StreamSocket) {
            session.withOutput { output in
                stream.write(output)
                return output.count
            }
        }
    }
}
