import JSON
import Reactor
import ServiceProxy
import Telemetry
import YAML

/// What can be asked of a service proxy instead of running it.
enum ServiceProxyErrands {
    /// Does what the flags ask for, if they ask for any.
    ///
    /// - Returns: whether that was all.
    static func run(_ flags: KubeProxyFlags, _ options: ServiceProxyOptions) throws -> Bool {
        if let file = flags.writeConfigTo {
            try Files.writeAtomically(file, try YAML.text(options.configuration.document))
            print("wrote \(file)")
            return true
        }
        if flags.cleanup == true {
            try cleanUp()
            return true
        }
        if flags.initOnly == true {
            setUpKernel(options.configuration, .shared)
            return true
        }
        return false
    }

    private static func cleanUp() throws {
        let standard = ServiceProxyConfiguration(node: NodeIdentity(name: ""))
        let removed = try ServiceProxy.removeTables(standard) + KubeProxyTables.remove()
        for name in removed { print("removed table \(name)") }
        if removed.isEmpty { print("nothing to remove") }
    }

    /// Connection tracking; what cannot be set is told and lived without.
    static func setUpKernel(_ configuration: KubeProxyConfiguration, _ log: Log) {
        let settings = ConntrackSettings(configuration.conntrack, cores: EventLoopGroup.usableCores)
        for failure in settings.apply(log: log) { log.warning("conntrack is not set", ["reason": failure]) }
    }
}
