import Flags
import Proxy

/// The command line, in Envoy's form: `--name value` or `--name=value`. Names and meanings are Envoy's.
struct ProxyOptions: Sendable {
    enum Mode: String, Sendable { case serve, validate }

    var server = ServerOptions()
    var mode = Mode.serve
    /// Worker threads; 0 is one a core that the process may use.
    var concurrency = 0
    var level = ProxyLog.Level.info
    var componentLevels: [(component: ProxyLog.Component, level: ProxyLog.Level)] = []
    var wantsHelp = false
    var wantsVersion = false
    var wantsHotRestartVersion = false
    private var isOver = false

    static let usage = """
        usage: weft-proxy -c FILE [--config-yaml YAML] [--mode serve|validate] [--concurrency N] ...
          -c, --config-path FILE             the bootstrap, YAML or JSON
          --config-yaml YAML                 laid over the file, or used alone
          --mode MODE                        serve, or validate: read the configuration and exit
          --concurrency N                    worker threads (default: one a core)
          --admin-address-path FILE          the admin port's address is written here
          -l, --log-level LEVEL              trace, debug, info, warning, error, critical, off (default info)
          --component-log-level LIST         levels of components: upstream:debug,admin:error
          --log-path FILE                    the log goes there instead of standard error
          --log-format PATTERN               of a line of the log
          --file-flush-interval-msec MS      how long a line of an access log waits at most (default 10000)
          --service-cluster, --service-node, --service-zone NAME
                                             who this is, over the bootstrap's node
          --drain-time-s S                   how long a graceful drain takes (default 600)
          --drain-strategy STRATEGY          gradual or immediate (default gradual)
          --local-address-ip-version V       v4 or v6 (default v4)
          --allow-unknown-static-fields      pass over fields of the bootstrap that are not known
          --reject-unknown-dynamic-fields    refuse such fields in dynamic resources
          --ignore-unknown-dynamic-fields    do not count them
          --parent-shutdown-time-s S         how long a drain takes at most, however long --drain-time-s is (default 900)
          --hot-restart-version              says "disabled"
          --disable-hot-restart, --base-id ID, --base-id-path FILE, --use-dynamic-base-id, --restart-epoch 0,
          --socket-path PATH, --socket-mode MODE, --skip-hot-restart-on-no-parent, --skip-hot-restart-parent-stats
                                             accepted; there is no hot restart
          --cpuset-threads, --skip-deprecated-logs, --log-format-escaped, --log-stacktrace-single-entry,
          --file-flush-min-size-kb KB        accepted; that is what is done anyway, or cannot happen
          --, --ignore_rest                  what follows is not looked at
          Not supported: --stats-tag, --disable-extensions, --enable-core-dump, --enable-mutex-tracing,
          --enable-fine-grain-logging
          --explain-requests N               requests of each worker that /explain knows (default 512; 0 for none)
          --version, -h, --help
        usage: weft-proxy explain REQUEST-ID | --failed ...    see weft-proxy explain --help

        """

    init(_ arguments: some Sequence<String>) throws(FlagError) {
        var rest = FlagReader(arguments)
        while !isOver, let name = try rest.nextName() { try take(name, &rest) }
        guard
            wantsHotRestartVersion || wantsHelp || wantsVersion || !server.configPath.isEmpty
                || !server.configYAML.isEmpty
        else {
            throw FlagError("At least one of --config-path or --config-yaml must be given")
        }
    }

    private mutating func take(_ name: String, _ rest: inout FlagReader) throws(FlagError) {
        switch name {
        case "-c", "--config-path": server.configPath = try rest.value()
        case "--config-yaml": server.configYAML = try rest.value()
        case "--mode":
            let text = try rest.value()
            guard let known = Mode(rawValue: text) else { throw FlagError("error: unknown mode '\(text)'") }
            mode = known
        case "--concurrency": concurrency = try rest.number(0...256)
        case "--admin-address-path": server.adminAddressPath = try rest.value()
        case "-l", "--log-level":
            server.logLevel = try rest.value()
            guard let level = ProxyLog.Level(server.logLevel) else {
                throw FlagError("error: invalid log level specified '\(server.logLevel)'")
            }
            self.level = level
        case "--component-log-level":
            server.componentLogLevel = try rest.value()
            componentLevels = try Self.componentLevels(server.componentLogLevel)
        case "--log-path": server.logPath = try rest.value()
        case "--log-format": server.logFormat = try rest.value()
        case "--file-flush-interval-msec": server.logInterval = .milliseconds(try rest.number(1...86_400_000))
        case "--service-cluster": server.serviceCluster = try rest.value()
        case "--service-node": server.serviceNode = try rest.value()
        case "--service-zone": server.serviceZone = try rest.value()
        case "--drain-time-s": server.drainTime = .seconds(try rest.number(0...86_400))
        case "--drain-strategy":
            switch try rest.value() {
            case "gradual": server.drainsAtOnce = false
            case "immediate": server.drainsAtOnce = true
            case let text: throw FlagError("error: unknown drain-strategy '\(text)'")
            }
        case "--local-address-ip-version":
            switch try rest.value() {
            case "v4": server.listensOnIPv6 = false
            case "v6": server.listensOnIPv6 = true
            case let text: throw FlagError("error: unknown IP address version '\(text)'")
            }
        case "--allow-unknown-fields", "--allow-unknown-static-fields": server.allowsUnknownStaticFields = true
        case "--reject-unknown-dynamic-fields": server.rejectsUnknownDynamicFields = true
        case "--ignore-unknown-dynamic-fields": server.ignoresUnknownDynamicFields = true
        case "--parent-shutdown-time-s": server.parentShutdownTime = .seconds(try rest.number(0...86_400))
        case "--explain-requests":
            server.explainedRequests = try rest.number(0...ServerOptions.mostExplainedRequests)
        case "--base-id": server.baseID = try rest.number(0...Int(UInt32.max))
        case "--restart-epoch":
            server.restartEpoch = try rest.number(0...Int(UInt32.max))
            guard server.restartEpoch == 0 else {
                throw FlagError("--restart-epoch \(server.restartEpoch): there is no hot restart")
            }
        case "--disable-hot-restart", "--cpuset-threads", "--skip-deprecated-logs", "--use-dynamic-base-id",
            "--skip-hot-restart-on-no-parent", "--skip-hot-restart-parent-stats", "--log-format-escaped",
            "--log-stacktrace-single-entry":
            break
        case "--socket-path", "--socket-mode", "--base-id-path": _ = try rest.value()
        case "--file-flush-min-size-kb": _ = try rest.number(1...(1 << 20))
        case "--hot-restart-version": wantsHotRestartVersion = true
        case "--", "--ignore_rest": isOver = true
        case "--stats-tag", "--disable-extensions", "--enable-core-dump", "--enable-mutex-tracing",
            "--enable-fine-grain-logging":
            throw FlagError("\(name) is not supported")
        case "-h", "--help": wantsHelp = true
        case "--version": wantsVersion = true
        default: throw FlagError("Couldn't find match for argument: \(name)")
        }
    }

    private static func componentLevels(_ text: String) throws(FlagError)
        -> [(component: ProxyLog.Component, level: ProxyLog.Level)]
    {
        var found: [(ProxyLog.Component, ProxyLog.Level)] = []
        for pair in text.split(separator: ",") {
            let parts = pair.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2 else {
                throw FlagError("error: component log level not correctly specified '\(pair)'")
            }
            guard let component = ProxyLog.Component(rawValue: parts[0]) else {
                throw FlagError("error: invalid component specified '\(parts[0])'")
            }
            guard let level = ProxyLog.Level(parts[1]) else {
                throw FlagError("error: invalid log level specified '\(parts[1])'")
            }
            found.append((component, level))
        }
        return found
    }
}
