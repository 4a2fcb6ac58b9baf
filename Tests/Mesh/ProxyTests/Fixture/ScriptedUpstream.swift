import Bytes
import Reactor
import Synchronization

/// An HTTP/1 upstream that says what a test tells it to, byte for byte, and remembers what it was asked.
final class ScriptedUpstream: Sendable {
    /// What to do about one request, by its text and how many came before it.
    typealias Script = @Sendable (_ request: String, _ number: Int) -> Action

    enum Action: Sendable {
        case answer(String)
        case answerAndClose(String)
        /// Says this, then answers every piece by what the function makes of it.
        case becomeTunnel(String, @Sendable (String) -> String)
        case close
        case reset
        /// Says nothing and keeps the connection.
        case silence
        /// Says nothing here, and this on every connection that was met with silence.
        case answerOthers(String)
    }

    let port: UInt16
    private let listener: Listener
    private let seen: Mutex<[String]>
    private let connectionCount: Counter

    final class Counter: Sendable { let value = Mutex(0) }
    final class Log: Sendable { let requests = Mutex<[String]>([]) }
    /// Connections that were met with silence; on the loop only.
    private final class Silent: @unchecked Sendable { var streams: [StreamSocket] = [] }
    private let log: Log

    init(on loop: EventLoop, _ script: @escaping Script) async throws {
        let (log, counter, silent) = (Log(), Counter(), Silent())
        var options = ListenerOptions()
        options.stream.inputLimit = 64 << 20
        let listener = try await loop.perform { [options] in
            try Listener(.ip(.loopbackV4, 0), on: loop, options: options) { socket in
                counter.value.withLock { $0 += 1 }
                socket.handler = Conversation(log, silent, script)
            }
        }
        self.listener = listener
        self.log = log
        connectionCount = counter
        seen = Mutex([])
        port = listener.address.port?.rawValue ?? 0
    }

    /// Heads and bodies of all requests so far, as they came.
    var requests: [String] { log.requests.withLock { $0 } }
    /// Connections so far.
    var connections: Int { connectionCount.value.withLock { $0 } }

    func close() { listener.close() }

    /// Answers with 200 and this body.
    static func says(_ body: String, headers: String = "") -> Script {
        { _, _ in .answer("HTTP/1.1 200 OK\r\ncontent-length: \(body.utf8.count)\r\n\(headers)\r\n\(body)") }
    }

    /// Answers with the request as it came.
    static let echo: Script = { request, _ in
        .answer("HTTP/1.1 200 OK\r\ncontent-length: \(request.utf8.count)\r\n\r\n\(request)")
    }

    private final class Conversation: StreamHandler, @unchecked Sendable {
        private let log: Log
        private let silent: Silent
        private let script: Script
        private var tunnel: (@Sendable (String) -> String)?

        init(_ log: Log, _ silent: Silent, _ script: @escaping Script) {
            self.log = log
            self.silent = silent
            self.script = script
        }

        override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
            let text = String(decoding: bytes, as: UTF8.self)
            if let tunnel {
                stream.write(Array(tunnel(text).utf8))
                return bytes.count
            }
            guard let length = WireMessage.length(text, isResponse: false) else { return 0 }
            let request = String(decoding: text.utf8.prefix(length), as: UTF8.self)
            let number = log.requests.withLock { requests in
                requests.append(request)
                return requests.count - 1
            }
            switch script(request, number) {
            case .answer(let answer): stream.write(Array(answer.utf8))
            case .answerAndClose(let answer):
                stream.write(Array(answer.utf8))
                stream.closeAfterWrite()
            case .becomeTunnel(let answer, let reply):
                stream.write(Array(answer.utf8))
                tunnel = reply
            case .close: stream.close()
            case .reset: stream.reset()
            case .silence: silent.streams.append(stream)
            case .answerOthers(let answer):
                for other in silent.streams where !other.isClosed { other.write(Array(answer.utf8)) }
                silent.streams = []
            }
            return length
        }
    }
}
