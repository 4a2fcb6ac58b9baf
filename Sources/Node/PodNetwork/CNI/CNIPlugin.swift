import Bytes

/// The plugin as a function: a runtime's call in, the answer out. `weft-cni` gives it its environment and standard input.
public enum CNIPlugin {
    /// Asks the daemon; where none runs and the configuration has an `ipam` section, does the work itself.
    public static func run(_ call: CNICall) -> CNIReply {
        guard call.command != "VERSION", !call.command.isEmpty else { return Absent().answer(call) }
        let configuration: CNIConfiguration
        do { configuration = try CNIConfiguration(parsing: call.configuration) } catch { return CNIReply(error) }
        let version = configuration.version.rawValue
        do {
            if let reply = try CNIClient.send(call, to: configuration.socket) { return reply }
            guard let standalone = configuration.standalone else { return Absent(configuration.socket).answer(call) }
            return try Standalone(standalone, network: configuration.name).answer(call)
        } catch { return CNIReply(CNIError(translating: error, command: call.command), version: version) }
    }

    /// Nobody is there to act.
    private struct Absent: CNIPerformer {
        var socket: String
        init(_ socket: String = CNIConfiguration.defaultSocket) { self.socket = socket }

        func perform(_ operation: CNIOperation) throws -> CNIOutcome {
            switch operation {
            case .version: return .version
            // Nothing stands that could be taken away by us now; the daemon's own reconciliation does when it returns, and a
            // runtime that gets an error here would keep a dead pod for ever.
            case .delete, .collect: return .done
            case .add, .check, .status:
                throw CNIError(
                    operation.isStatus ? .notAvailable : .tryAgainLater, "the weft daemon does not run on this node",
                    details:
                        "nobody listens at \(socket), and the network configuration has no \"ipam\" to do without it")
            }
        }
    }

    /// The whole work in one process, for one call.
    private struct Standalone: CNIPerformer {
        let links: PodLinks
        /// How long a call waits, in milliseconds, for others on this node to be through.
        static let lockTimeout = 30_000

        init(_ configuration: CNIConfiguration.Standalone, network: String) throws {
            links = try PodLinks(directory: "\(configuration.directory)/\(network)", lockTimeout: Self.lockTimeout)
            links.setPrefixes(configuration.subnets)
            if let mtu = configuration.mtu { links.mtu = mtu }
            try HostSettings.apply()
        }

        func perform(_ operation: CNIOperation) throws -> CNIOutcome { try links.perform(operation) }
    }
}

extension CNIOperation {
    fileprivate var isStatus: Bool { if case .status = self { true } else { false } }
}
