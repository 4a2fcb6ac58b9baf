import Bytes
import Glibc
import HTTP
import Reactor
import TLS

/// One active health check of a host over a plain connection, with TLS where the cluster has it. Belongs to one loop.
final class TCPHealthProbe: Channel, @unchecked Sendable {
    // `@unchecked Sendable` is inherited from StreamHandler: only the loop's thread calls any of this.

    /// Answers are looked at up to so many bytes.
    static let largestAnswer = 64 << 10

    private let message: [UInt8]
    private let expected: PayloadMatcher
    private let result = Promise<HealthCheckResult>()
    private var answer: [UInt8] = []

    private init(_ message: [UInt8], _ expected: PayloadMatcher, _ tls: TLSSession?) {
        self.message = message
        self.expected = expected
        super.init(tls)
    }

    /// Connects, says `message` and waits until all of `expected` came; nothing of both is only a connection. On the loop.
    static func run(
        _ target: HealthProbe.Target, _ message: [UInt8], _ expected: PayloadMatcher, on loop: EventLoop,
        timeout: Duration
    ) async -> HealthCheckResult {
        do {
            let tls = try target.tls.map {
                try TLSSession($0, serverName: target.serverName, offering: target.protocols)
            }
            let probe = TCPHealthProbe(message, expected, tls)
            // What it still has to say is of no use to anybody.
            defer { probe.reset() }
            probe.attach(
                try StreamSocket.connect(
                    to: target.address, on: loop, from: target.source, timeout: timeout, handler: probe))
            let deadline = loop.schedule(after: timeout) { [weak probe] in
                probe?.result.succeed(.failure(.timeout))
            }
            defer { loop.cancel(deadline) }
            return try await probe.result.value()
        } catch {
            return .failure(.network)
        }
    }

    override func channelOpened() {
        message.withUnsafeBytes { send($0) }
        judge()
    }

    override func channelReceived(_ bytes: UnsafeRawBufferPointer) {
        guard answer.count + bytes.count <= Self.largestAnswer else { return result.succeed(.failure(.network)) }
        answer += bytes
        judge()
    }

    override func channelEnded() { result.succeed(.failure(.network)) }

    override func channelClosed(_ error: (any Error)?) {
        result.succeed(.failure((error as? SystemError)?.errno == ETIMEDOUT ? .timeout : .network))
    }

    private func judge() { if expected.matches(answer) { result.succeed(.success(isDegraded: false)) } }
}
