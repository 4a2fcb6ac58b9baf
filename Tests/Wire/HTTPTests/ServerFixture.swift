import Bytes
import Glibc
import Reactor
import Synchronization
import TLS
import Testing

@testable import HTTP

/// A server on loopback, on two loops of its own, for the length of one test.
struct ServerUnderTest: Sendable {
    let group: EventLoopGroup
    let server: HTTPServer
    let port: UInt16

    func client(
        secure tls: TLSContext? = nil, limits: HTTPClientLimits = .standard, headers: HTTPHeaders = HTTPHeaders()
    ) -> HTTPClient {
        HTTPClient(
            on: group.next,
            endpoint: HTTPEndpoint(host: "127.0.0.1", port: port, isSecure: tls != nil), tls: tls, headers: headers,
            limits: limits)
    }
}

func withServer(
    limits: HTTPLimits = .standard, tls: TLSContext? = nil, address: SocketAddress = .ip(.loopbackV4, 0),
    handler: @escaping @Sendable (HTTPRequest, HTTPResponseWriter) async -> Void = TestHandler.handle,
    _ body: (ServerUnderTest) async throws -> Void
) async throws {
    let group = try EventLoopGroup(count: 2, name: "test")
    let server = HTTPServer(
        group: group, address: address, tls: tls, limits: limits, handler: HTTPClosureHandler(handler))
    let bound = try await server.start()
    let result: Result<Void, any Error>
    do {
        try await body(ServerUnderTest(group: group, server: server, port: bound.port?.rawValue ?? 0))
        result = .success(())
    } catch {
        result = .failure(error)
    }
    await server.drain(deadline: .milliseconds(200))
    await group.shutdown()
    try result.get()
}

/// What most tests ask of a server.
enum TestHandler {
    @Sendable
    static func handle(_ request: HTTPRequest, _ response: HTTPResponseWriter) async {
        switch request.path {
        case "/echo":
            await response.send(
                status: 200,
                headers: [
                    "content-type": request.headers[.contentType] ?? "text/plain", "x-length": "\(request.body.count)",
                ],
                body: request.body)
        case "/empty": await response.send(status: 204)
        case "/unchanged": await response.send(status: 304, headers: ["etag": "x"])
        case "/silent": return
        case "/stream":
            let count = request.query("n").flatMap(Int.init) ?? 3
            do {
                try await response.start(status: 200, headers: ["content-type": "text/plain"])
                for index in 0..<count { try await response.write(Array("piece \(index)\n".utf8)) }
                await response.finish(trailers: request.query("trailers") != nil ? ["x-end": "yes"] : [:])
            } catch {}
        case "/who":
            await response.send(status: 200, text: request.tls?.chain.first?.subject.description ?? "nobody")
        case "/websocket":
            do { try await echoWebSocket(request, response) } catch {
                await response.send(status: 400, text: "\(error)")
            }
        default:
            await response.send(
                status: 200, text: "\(request.method) \(request.target) \(request.version) \(request.authority)\n")
        }
    }

    private static func echoWebSocket(_ request: HTTPRequest, _ response: HTTPResponseWriter) async throws {
        try await response.upgrade(headers: WebSocketHandshake.accept(request, protocols: []))
        var decoder = WebSocketDecoder(.server)
        let encoder = WebSocketEncoder(.server)
        var pending: [UInt8] = []
        while case let bytes = try await response.read(), !bytes.isEmpty {
            pending += bytes
            var output: [UInt8] = []
            var consumed = 0
            var isOver = false
            try pending.withUnsafeBytes { input in
                while let message = try decoder.next(input, consumed: &consumed) {
                    switch message {
                    case .binary(let payload): encoder.binary(payload, into: &output)
                    case .text(let payload): encoder.text(payload, into: &output)
                    case .close(let code, _):
                        encoder.close(code: code, into: &output)
                        isOver = true
                    default: continue
                    }
                }
            }
            pending.removeFirst(consumed)
            try await response.write(output)
            if isOver { break }
        }
        await response.finish()
    }
}

/// Runs blocking code on a thread of its own, so that it holds up no loop and no other test.
func blocking<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    let promise = Promise<R>()
    let box = Unmanaged.passRetained(
        Work {
            do { promise.succeed(try body()) } catch { promise.fail(error) }
        })
    var thread = pthread_t()
    let result = pthread_create(
        &thread, nil,
        { argument in
            if let argument { Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().run() }
            return nil
        }, box.toOpaque())
    precondition(result == 0)
    pthread_detach(thread)
    return try await promise.value()
}

private final class Work {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

/// The output of a shell command, standard error included; at most 30 seconds.
func shell(_ command: String) async throws -> String {
    try await blocking {
        guard let pipe = popen("timeout 30 sh -c '\(command)' 2>&1", "r") else { throw Problem("popen") }
        var output: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while case let count = fread(&buffer, 1, buffer.count, pipe), count > 0 { output += buffer[..<count] }
        pclose(pipe)
        return String(decoding: output, as: UTF8.self)
    }
}

func expect(
    _ command: String, prints expected: String, sourceLocation: SourceLocation = #_sourceLocation
) async throws {
    let output = try await shell(command)
    #expect(output == expected, "\(command)", sourceLocation: sourceLocation)
}

func expect(
    _ command: String, contains part: String, sourceLocation: SourceLocation = #_sourceLocation
) async throws {
    let output = try await shell(command)
    #expect(output.contains(part), "\(command)", sourceLocation: sourceLocation)
}

struct Problem: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// A blocking socket that says exactly what it is told to.
final class RawPeer: Sendable {
    let fd: CInt

    init(port: UInt16, receiveBuffer: CInt? = nil) throws {
        fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        if var size = receiveBuffer { setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<CInt>.size)) }
        var timeout = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else {
            close(fd)
            throw Problem("connect: \(String(cString: strerror(errno)))")
        }
    }

    init(adopting fd: CInt) { self.fd = fd }
    deinit { close(fd) }

    func send(_ text: String) { send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    func finishSending() { shutdown(fd, Int32(SHUT_WR)) }

    /// Some bytes; empty at the end, nil after a reset or 10 seconds of silence.
    func receive(_ limit: Int = 65536) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: limit)
        let count = recv(fd, &buffer, limit, 0)
        return count < 0 ? nil : Array(buffer[..<count])
    }

    /// Everything until the peer closes.
    func receiveAll() -> String {
        var all: [UInt8] = []
        while let bytes = receive(), !bytes.isEmpty { all += bytes }
        return String(decoding: all, as: UTF8.self)
    }

    /// Everything until the text has come.
    func receive(until marker: String) -> String {
        var all = ""
        while !all.contains(marker), let bytes = receive(), !bytes.isEmpty {
            all += String(decoding: bytes, as: UTF8.self)
        }
        return all
    }
}

/// What a raw client gets for its bytes until the server closes.
func exchange(_ port: UInt16, _ request: String, halfClose: Bool = false) async throws -> String {
    try await blocking {
        let peer = try RawPeer(port: port)
        peer.send(request)
        if halfClose { peer.finishSending() }
        return peer.receiveAll()
    }
}

/// Waits for a condition; fails with what was seen last.
func eventually<T: Sendable>(
    _ what: String, on loop: EventLoop, within limit: Duration = .seconds(60), _ value: () async throws -> T,
    until holds: (T) -> Bool
) async throws {
    let end = ContinuousClock.now + limit
    var last = try await value()
    while !holds(last) {
        guard ContinuousClock.now < end else { throw Problem("\(what): last seen \(last)") }
        try await loop.sleep(for: .milliseconds(5))
        last = try await value()
    }
}

/// Certificates for servers on loopback and for clients, made once.
struct Certificates: Sendable {
    let authority: CertificateAuthority
    let server: TLSIdentity
    let client: TLSIdentity

    static let shared = Result {
        let authority = try CertificateAuthority.create(commonName: "http test authority")
        return try Certificates(
            authority: authority,
            server: authority.issue(
                CertificateTemplate(
                    subject: DistinguishedName(commonName: "server"),
                    names: AlternativeNames(dns: ["localhost"], addresses: [.loopbackV4]), purpose: .server)),
            client: authority.issue(
                CertificateTemplate(
                    subject: DistinguishedName(commonName: "alice", organizations: ["dev"]), purpose: .client)))
    }

    var trust: TrustPool { TrustPool([authority.certificate]) }

    func serverContext(_ mode: TLSContext.ClientCertificates = .requested) throws -> TLSContext {
        try TLSContext(serving: [server], clientCertificates: mode, trust: trust, protocols: ["h2", "http/1.1"])
    }

    func clientContext(h2: Bool = false, identity: Bool = false) throws -> TLSContext {
        try TLSContext(
            connecting: trust, identity: identity ? client : nil, protocols: h2 ? ["h2", "http/1.1"] : ["http/1.1"])
    }

    /// A directory with ca.pem, client.pem and client.key, removed by the caller.
    func writeFiles() throws -> String {
        var template = Array("/tmp/weft-http-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Problem("mkdtemp") }
        let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        for (name, text) in [
            ("ca.pem", authority.certificate.pem), ("client.pem", client.leaf.pem), ("client.key", client.key.pem),
        ] { try Files.writeAtomically("\(directory)/\(name)", Array(text.utf8), mode: 0o600) }
        return directory
    }
}

/// Set on one thread, seen on another.
final class Flag: Sendable {
    private let value = Atomic<Bool>(false)
    var isSet: Bool { value.load(ordering: .acquiring) }
    func set() { value.store(true, ordering: .releasing) }
}

/// Counted on one thread, read on another.
final class Tally: Sendable {
    private let count = Atomic<Int>(0)
    var value: Int { count.load(ordering: .acquiring) }
    func add(_ more: Int) { count.add(more, ordering: .acquiringAndReleasing) }
}
