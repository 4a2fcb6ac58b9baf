import Glibc
import Bytes
import HTTP
import Reactor

/// An HTTP server on a port that somebody else may have: it is tried for until it is had.
struct PortKeeper: Sendable {
    let group: EventLoopGroup
    let address: SocketAddress
    let handler: any HTTPHandler

    /// Serves if the port can be had now.
    ///
    /// 0.0.0.0 means all addresses, of both families where there are two, as it does for programs written in Go.
    func start() async throws -> HTTPServer {
        if case .ip(let ip, let port, let scope) = address, ip == .anyV4 {
            do {
                return try await start(.ip(.anyV6, port, scope: scope))
            } catch let error as SystemError where [EAFNOSUPPORT, EADDRNOTAVAIL].contains(error.errno) {
                // IPv6 is switched off.
            }
        }
        return try await start(address)
    }

    private func start(_ address: SocketAddress) async throws -> HTTPServer {
        let server = HTTPServer(group: group, address: address, handler: handler)
        _ = try await server.start()
        return server
    }

    /// Serves until cancelled.
    ///
    /// - Parameter onFailure: told of each try that failed; what it throws ends the waiting.
    func serve(retrying period: Duration, onFailure: (any Error) async throws -> Void) async throws {
        let loop = group.next
        var server: HTTPServer?
        while server == nil {
            do {
                server = try await start()
            } catch is CancellationError {
                return
            } catch {
                try await onFailure(error)
                guard (try? await loop.sleep(for: period)) != nil else { return }
            }
        }
        while (try? await loop.sleep(for: .seconds(3600))) != nil {}
        await server?.drain(deadline: .seconds(1))
    }
}
