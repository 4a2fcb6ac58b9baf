import Bytes
import Glibc
import Reactor
import Testing

/// Runs a real program against a port of ours and keeps the first bytes that it sends.
enum CapturedPeer {
    /// - Parameters:
    ///   - program: given the port that somebody listens on.
    ///   - descriptors: of ours that it gets, by its number.
    ///   - isEnough: whether no more bytes are waited for.
    static func firstBytes(
        of program: @escaping @Sendable (UInt16) -> [String], inheriting descriptors: [CInt: CInt] = [:],
        until isEnough: @escaping @Sendable ([UInt8]) -> Bool
    ) async throws -> [UInt8] {
        let group = try EventLoopGroup(count: 1, name: "captured")
        let loop = group.all[0]
        let result: Result<[UInt8], any Error>
        do {
            result = .success(
                try await loop.perform {
                    let caught = Promise<[UInt8]>()
                    let keeper = Keeper(caught, isEnough)
                    let listener = try Listener(.ip(.loopbackV4, 0), on: loop) { $0.handler = keeper }
                    defer { listener.close() }
                    var configuration = ChildProcess.Configuration(program(listener.address.port?.rawValue ?? 0))
                    configuration.deathSignal = SIGKILL
                    configuration.descriptors = descriptors.merging([0: -1, 1: -1, 2: -1]) { ours, _ in ours }
                    let child = try ChildProcess(configuration, on: loop)
                    defer { child.kill(SIGKILL) }
                    return try await withTimeout(.seconds(60), "the peer's first bytes", on: loop) {
                        try await caught.value()
                    }
                })
        } catch {
            result = .failure(error)
        }
        await group.shutdown()
        return try result.get()
    }

    private final class Keeper: StreamHandler, @unchecked Sendable {
        private let caught: Promise<[UInt8]>
        private let isEnough: @Sendable ([UInt8]) -> Bool

        init(_ caught: Promise<[UInt8]>, _ isEnough: @escaping @Sendable ([UInt8]) -> Bool) {
            self.caught = caught
            self.isEnough = isEnough
        }

        override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
            // Unconsumed bytes are offered again with what comes behind them: a peek.
            let all = Array(bytes)
            guard isEnough(all) else { return 0 }
            if caught.result == nil { caught.succeed(all) }
            stream.close()
            return bytes.count
        }
    }

    static func isInstalled(_ program: String) -> Bool {
        ["/usr/bin/", "/usr/sbin/", "/usr/local/bin/"].contains { access($0 + program, X_OK) == 0 }
    }
}
