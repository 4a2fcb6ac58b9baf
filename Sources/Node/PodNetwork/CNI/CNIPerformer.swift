import Bytes

/// Who acts on judged CNI calls: the daemon's pod network, or the stand-alone plugin's.
protocol CNIPerformer {
    func perform(_ operation: CNIOperation) throws -> CNIOutcome
}

extension CNIPerformer {
    /// From the runtime's call to the plugin's answer. Every failure becomes the specification's error object.
    func answer(_ call: CNICall) -> CNIReply {
        var version = CNIVersion.newest
        do {
            var configuration: CNIConfiguration?
            if call.command != "VERSION", !call.command.isEmpty {
                let parsed = try CNIConfiguration(parsing: call.configuration)
                version = parsed.version
                configuration = parsed
            }
            let operation = try CNIOperation(call, configuration)
            return CNIReply(try perform(operation), configuration)
        } catch { return CNIReply(CNIError(translating: error, command: call.command), version: version.rawValue) }
    }
}

extension CNIError {
    init(translating error: any Error, command: String) {
        switch error {
        case let error as CNIError: self = error
        case PodNetworkError.notReady(let why):
            self.init(
                command == "STATUS" ? .notAvailable : .tryAgainLater, "the pod network is not ready", details: why)
        case PodNetworkError.noNamespace:
            self.init(.unknownContainer, "the container's network namespace is not there", details: "\(error)")
        case PodNetworkError.unknown:
            self.init(.unknownContainer, "the container is not attached to this network", details: "\(error)")
        case PodNetworkError.faulty:
            self.init(.checkFailed, "the attachment is not as it was made", details: "\(error)")
        case AddressPoolError.resting, AddressPoolError.exhausted:
            self.init(.tryAgainLater, "no pod address is free", details: "\(error)")
        default: self.init(.internal, "\(command) failed", details: "\(error)")
        }
    }
}

/// The operations on a node's attachments, which both performers share.
extension PodLinks {
    func perform(_ operation: CNIOperation) throws -> CNIOutcome {
        switch operation {
        case .add(let request): return .added(try attach(request).attachment)
        case .delete(let id): try detach(id)
        case .check(let id, _, let addresses): try check(id, addresses: addresses)
        case .collect(let valid): try collect(valid: valid)
        case .status: if prefixes.isEmpty { throw PodNetworkError.notReady("this node has no pod prefix yet") }
        case .version: return .version
        }
        return .done
    }
}
