import Bytes
import Glibc
import Reactor
import TLS

/// Answers every read with one small HTTP response over TLS: what TLSSession costs, and little else.
final class TLSResponder: StreamHandler, @unchecked Sendable {
    private let session: TLSSession
    private var closes = false

    init(_ session: TLSSession) { self.session = session }

    override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
        do {
            var rest = bytes
            while true {
                var requests = 0
                let taken = try session.receive(rest) { plaintext in
                    requests += 1
                    // wrk's and ours alone: "Connection: close" stands there or not.
                    if plaintext.contains(UInt8(ascii: "K")) { self.closes = true }
                    return true
                }
                for _ in 0..<requests { try Self.answer.withUnsafeBytes { _ = try session.send($0) } }
                rest = UnsafeRawBufferPointer(rebasing: rest[taken...])
                if rest.isEmpty || taken == 0 { break }
            }
            if session.isPeerClosed || closes { session.sendClose() }
            flush(stream)
            if session.isPeerClosed || closes { stream.closeAfterWrite() }
        } catch {
            flush(stream)
            stream.closeAfterWrite()
        }
        return bytes.count
    }

    override func streamDidEnd(_ stream: StreamSocket) { stream.close() }

    private func flush(_ stream: StreamSocket) {
        session.withOutput { output in
            stream.write(output)
            return output.count
        }
    }

    private static let answer = Array(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nhello, world\n".utf8)

    static func serve(_ options: Options) -> CInt {
        runOnLoops(threads: 1) { group in
            let folder = options.text("folder")
            let identities = try Certificates.names.map { name in
                try TLSIdentity(
                    certificatePEM: Files.readText("\(folder)/\(name).pem"),
                    keyPEM: Files.readText("\(folder)/\(name).key"))
            }
            let context = try TLSContext(server: TLSServerConfiguration(identities: identities))
            let loop = group.all[0]
            let address = SocketAddress.ip(.loopbackV4, Port(UInt16(clamping: options.number("port", 8443))))
            let listener = try await loop.perform {
                try Listener(address, on: loop) { stream in
                    guard let session = try? TLSSession(context) else { return }
                    stream.handler = TLSResponder(session)
                }
            }
            for await _ in try Signals.stream([SIGTERM, SIGINT], on: loop) { break }
            listener.close()
        }
    }
}
