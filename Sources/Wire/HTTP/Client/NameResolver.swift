import Bytes
import Glibc
import Reactor
import Synchronization

/// Names to addresses through the C library (hosts file, search path, nsswitch). It blocks, so each look-up has a thread of its
/// own; at most `maximumLookups` run at once.
public enum NameResolver {
    /// Look-ups at once in this process. Beyond: refused, since a name server that hangs must not eat all threads.
    public static let maximumLookups = 32

    /// The addresses of a host, in the order the C library prefers. Address literals need no look-up.
    ///
    /// - Throws: `HTTPError` (`.connect`) with the resolver's reason.
    public static func resolve(_ host: String, port: UInt16) async throws -> [SocketAddress] {
        if let literal = IPAddress(host) { return [.ip(literal, Port(rawValue: port))] }
        guard Lookups.begin() else {
            throw HTTPError(
                .connect, "cannot look up \(host): \(maximumLookups) look-ups are waiting", isRetrySafe: true)
        }
        let promise = Promise<[SocketAddress]>()
        do {
            // The look-up goes on, and counts, when nobody waits for it any more.
            try Thread.run {
                defer { Lookups.end() }
                do throws(HTTPError) { promise.succeed(try lookUp(host, port)) } catch { promise.fail(error) }
            }
        } catch {
            Lookups.end()
            throw error
        }
        return try await promise.value()
    }

    private static func lookUp(_ host: String, _ port: UInt16) throws(HTTPError) -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_ADDRCONFIG
        var list: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(host, nil, &hints, &list)
        guard result == 0 else {
            throw HTTPError(
                .connect, "cannot look up \(host): \(String(cString: gai_strerror(result)))", isRetrySafe: true)
        }
        defer { freeaddrinfo(list) }
        var found: [SocketAddress] = []
        var next = list
        while let entry = next {
            next = entry.pointee.ai_next
            guard let address = entry.pointee.ai_addr else { continue }
            let raw = UnsafeRawPointer(address)
            let ip: IPAddress?
            switch entry.pointee.ai_family {
            case AF_INET:
                ip = withUnsafeBytes(of: raw.loadUnaligned(as: sockaddr_in.self).sin_addr) { IPAddress(bytes: $0) }
            case AF_INET6:
                ip = withUnsafeBytes(of: raw.loadUnaligned(as: sockaddr_in6.self).sin6_addr) { IPAddress(bytes: $0) }
            default: ip = nil
            }
            if let ip { found.append(.ip(ip, Port(rawValue: port))) }
        }
        guard !found.isEmpty else { throw HTTPError(.connect, "\(host) has no address", isRetrySafe: true) }
        return found
    }
}

/// Counts the look-ups that run.
private enum Lookups {
    private static let running = Atomic<Int>(0)

    static func begin() -> Bool {
        if running.add(1, ordering: .relaxed).newValue <= NameResolver.maximumLookups { return true }
        end()
        return false
    }

    static func end() { running.subtract(1, ordering: .relaxed) }
}

/// A detached thread for one blocking call.
private enum Thread {
    private final class Body {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    static func run(_ body: @escaping @Sendable () -> Void) throws(HTTPError) {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, 256 << 10)
        let argument = Unmanaged.passRetained(Body(body))
        var thread = pthread_t()
        let result = pthread_create(
            &thread, &attributes,
            { argument in
                if let argument { Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            }, argument.toOpaque())
        guard result == 0 else {
            argument.release()
            throw HTTPError(.limit, "cannot start a thread: \(String(cString: strerror(result)))", isRetrySafe: true)
        }
    }
}
