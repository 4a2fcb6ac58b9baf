import CLinux
import Glibc
import Reactor
import Synchronization

/// The proxy's own log: what it does, and what goes wrong, in lines as Envoy writes them. Each component has a level.
///
/// Lines are written at once, to standard error or the file of `--log-path`. Any thread; not for what happens with every
/// request.
package final class ProxyLog: Sendable {
    package enum Level: Int, Sendable, CaseIterable {
        case trace, debug, info, warning, error, critical, off

        /// Envoy's names; `warn` is one for `warning`.
        package init?(_ name: String) {
            guard let level = Self.allCases.first(where: { "\($0)" == name || $0 == .warning && name == "warn" })
            else { return nil }
            self = level
        }
    }

    /// Who writes. Names and order are Envoy's, so that what sets levels for Envoy does so here; not all of them write.
    package enum Component: String, Sendable, CaseIterable {
        case a2a, admin
        case aiProtocolManager = "ai_protocol_manager"
        case alternateProtocolsCache = "alternate_protocols_cache"
        case aws, assert, backtrace
        case basicAuth = "basic_auth"
        case cacheFilter = "cache_filter"
        case client, config, connection
        case connHandler = "conn_handler"
        case compression
        case credentialInjector = "credential_injector"
        case decompression, dns, dubbo
        case envoyBug = "envoy_bug"
        case extAuthz = "ext_authz"
        case extProc = "ext_proc"
        case rocketmq, file, filter
        case forwardProxy = "forward_proxy"
        case geolocation, grpc
        case happyEyeballs = "happy_eyeballs"
        case hc
        case healthChecker = "health_checker"
        case http, http2, hystrix, `init`, io, jwt
        case jsonRPC = "json_rpc"
        case kafka
        case keyValueStore = "key_value_store"
        case lua
        case localRateLimit = "local_rate_limit"
        case main, matcher, mcp, misc, mongo
        case multiConnection = "multi_connection"
        case notification, oauth2, quic
        case quicStream = "quic_stream"
        case pool
        case rateLimitQuota = "rate_limit_quota"
        case rbac, rds, redis, router, runtime, stats, secret, sse, tap, testing, thrift, tracing, upstream, udp, wasm
        case websocket, golang
        case statsSinks = "stats_sinks"
        case dynamicModules = "dynamic_modules"
        case ipTagging = "ip_tagging"
    }

    /// The log of this process.
    package static let shared = ProxyLog()

    /// `--log-format` when none is given.
    package static let defaultFormat = "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v"

    private struct Settings {
        var levels: [Component: Level] = [:]
        var others = Level.info
        var format = LogFormat(ProxyLog.defaultFormat)
        var descriptor: CInt = STDERR_FILENO
        var path: String?

        func level(_ component: Component) -> Level { levels[component] ?? others }
    }
    private let settings = Mutex(Settings())
    /// The least level that anybody writes at, so that a line that nobody writes costs a load.
    private let threshold = Atomic(Level.info.rawValue)

    /// Sets all components.
    package func set(_ level: Level) {
        settings.withLock {
            $0.levels = [:]
            $0.others = level
        }
        threshold.store(level.rawValue, ordering: .relaxed)
    }

    /// Sets one.
    package func set(_ component: Component, _ level: Level) {
        let least = settings.withLock { settings in
            settings.levels[component] = level
            return Component.allCases.map { settings.level($0).rawValue }.min() ?? level.rawValue
        }
        threshold.store(least, ordering: .relaxed)
    }

    package func level(_ component: Component) -> Level { settings.withLock { $0.level(component) } }

    package func setFormat(_ format: String) { settings.withLock { $0.format = LogFormat(format) } }

    /// Appends to a file from now on.
    package func open(_ path: String) throws(SystemError) {
        let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw SystemError(errno: errno, call: "open", subject: path) }
        let old = settings.withLock { settings in
            defer {
                settings.descriptor = descriptor
                settings.path = path
            }
            return settings.descriptor
        }
        if old != STDERR_FILENO { close(old) }
    }

    /// Opens the file again, after somebody has moved it away.
    package func reopen() {
        guard let path = settings.withLock({ $0.path }) else { return }
        try? open(path)
    }

    package func write(
        _ component: Component, _ level: Level, _ message: @autoclosure () -> String, file: StaticString = #fileID,
        line: UInt = #line
    ) {
        guard level.rawValue >= threshold.load(ordering: .relaxed) else { return }
        let found = settings.withLock { settings -> (LogFormat, CInt)? in
            guard level.rawValue >= settings.level(component).rawValue else { return nil }
            return (settings.format, settings.descriptor)
        }
        guard let (format, descriptor) = found else { return }
        var text = format.line(component, level, message(), file: "\(file)", line: line)
        text.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)
            while !rest.isEmpty {
                let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
                guard count > 0 else { return }
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            }
        }
    }

    package static func debug(
        _ component: Component, _ message: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line
    ) { shared.write(component, .debug, message(), file: file, line: line) }

    package static func info(
        _ component: Component, _ message: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line
    ) { shared.write(component, .info, message(), file: file, line: line) }

    package static func warning(
        _ component: Component, _ message: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line
    ) { shared.write(component, .warning, message(), file: file, line: line) }

    package static func error(
        _ component: Component, _ message: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line
    ) { shared.write(component, .error, message(), file: file, line: line) }

    package static func critical(
        _ component: Component, _ message: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line
    ) { shared.write(component, .critical, message(), file: file, line: line) }
}
