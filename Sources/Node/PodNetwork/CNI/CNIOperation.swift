import Bytes
import JSON

/// A call that was judged: what is to be done, in this room's terms. Pure; both the daemon and the stand-alone plugin read
/// calls and write answers with it, and differ only in who acts between.
public enum CNIOperation: Sendable {
    case add(AttachRequest)
    case delete(AttachmentID)
    /// With the addresses that the runtime believes the pod has.
    case check(AttachmentID, namespacePath: String, addresses: [IPAddress])
    case collect(valid: Set<AttachmentID>)
    case status
    case version

    /// Reads a call. The version operation needs no configuration that we understand.
    public init(_ call: CNICall, _ configuration: CNIConfiguration?) throws(CNIError) {
        if call.command == "VERSION" {
            self = .version
            return
        }
        guard let configuration else { throw CNIError(.decoding, "no network configuration on standard input") }
        switch call.command {
        case "ADD":
            if let previous = configuration.previousResult, previous.object != nil {
                throw CNIError(
                    .unsupportedField, "weft-cni must come first in the plugin list",
                    details: "prevResult is present in network \"\(configuration.name)\"")
            }
            self = .add(
                AttachRequest(
                    id: try Self.attachment(call), namespacePath: try Self.namespace(call),
                    pod: Self.pod(call.arguments),
                    addresses: configuration.addresses, hardwareAddress: configuration.hardwareAddress))
        case "DEL": self = .delete(try Self.attachment(call))
        case "CHECK":
            guard configuration.version >= .v0_4_0 else {
                throw CNIError(
                    .incompatibleVersion, "CHECK came with CNI 0.4.0",
                    details: "cniVersion is \(configuration.version.rawValue)")
            }
            guard let previous = configuration.previousResult else {
                throw CNIError(.invalidConfiguration, "CHECK needs the result of ADD", details: "field \"prevResult\"")
            }
            let addresses = (previous["ips"]?.array ?? []).compactMap { entry in
                entry["address"]?.string.flatMap { CIDR($0)?.address }
            }
            self = .check(
                try Self.attachment(call), namespacePath: try Self.namespace(call), addresses: addresses)
        case "GC": self = .collect(valid: Set(configuration.validAttachments))
        case "STATUS": self = .status
        case "":
            throw CNIError(
                .invalidEnvironment, "CNI_COMMAND is not set",
                details: "this program is a CNI plugin: a container runtime calls it")
        default:
            throw CNIError(
                .invalidEnvironment, "CNI_COMMAND \"\(call.command)\" is not known",
                details: "known: ADD, DEL, CHECK, GC, STATUS, VERSION")
        }
    }

    private static func attachment(_ call: CNICall) throws(CNIError) -> AttachmentID {
        guard let id = AttachmentID(containerID: call.containerID, interface: call.interface) else {
            throw CNIError(
                .invalidEnvironment, "CNI_CONTAINERID or CNI_IFNAME is not usable",
                details: "found \"\(call.containerID)\" and \"\(call.interface)\"")
        }
        return id
    }

    private static func namespace(_ call: CNICall) throws(CNIError) -> String {
        guard call.namespacePath.utf8.first == UInt8(ascii: "/") else {
            throw CNIError(
                .invalidEnvironment, "CNI_NETNS is not an absolute path", details: "found \"\(call.namespacePath)\"")
        }
        return call.namespacePath
    }

    /// "namespace/name" of the pod, as Kubernetes runtimes pass it in `CNI_ARGS`.
    private static func pod(_ arguments: String) -> String? {
        var namespace: Substring?
        var name: Substring?
        for pair in arguments.split(separator: ";") {
            let parts = pair.split(separator: "=", maxSplits: 1)
            guard parts.count == 2 else { continue }
            switch parts[0] {
            case "K8S_POD_NAMESPACE": namespace = parts[1]
            case "K8S_POD_NAME": name = parts[1]
            default: continue
            }
        }
        guard let namespace, let name else { return nil }
        return "\(namespace)/\(name)"
    }
}

/// What came of an operation, before it is written in the caller's version.
public enum CNIOutcome: Sendable {
    case added(PodAttachment)
    case done
    case version
}

extension CNIReply {
    public init(_ outcome: CNIOutcome, _ configuration: CNIConfiguration?) {
        switch outcome {
        case .done: self.init(output: [], succeeded: true)
        case .version:
            let answer: JSONValue = [
                "cniVersion": .string(CNIVersion.newest.rawValue),
                "supportedVersions": .array(CNIVersion.allCases.map { .string($0.rawValue) }),
            ]
            self.init(output: answer.encoded(), succeeded: true)
        case .added(let attachment):
            let result = attachment.result(configuration?.version ?? .newest, dns: configuration?.dns)
            self.init(output: result.encoded(), succeeded: true)
        }
    }
}

extension PodAttachment {
    /// The specification's result object. Interface 0 is the host's end, 1 the pod's.
    func result(_ version: CNIVersion, dns: JSONValue?) -> JSONValue {
        var pod: JSONValue = [
            "name": .string(id.interface), "mac": .string(hardwareAddress.description),
            "sandbox": .string(namespacePath),
        ]
        var host: JSONValue = ["name": .string(hostInterface), "mac": .string(PodGateway.hardwareAddress.description)]
        if version >= .v1_1_0 {
            pod["mtu"] = .int(Int64(mtu))
            host["mtu"] = .int(Int64(mtu))
        }
        let ips = addresses.map { address -> JSONValue in
            let gateway = PodGateway.address(address.family)
            var entry: JSONValue = [
                "address": .string(PodGateway.hostPrefix(address).description), "gateway": .string(gateway.description),
                "interface": 1,
            ]
            if version < .v1_0_0 { entry["version"] = address.family == .v4 ? "4" : "6" }
            return entry
        }
        let routes = addresses.map { address -> JSONValue in
            [
                "dst": address.family == .v4 ? "0.0.0.0/0" : "::/0",
                "gw": .string(PodGateway.address(address.family).description),
            ]
        }
        return [
            "cniVersion": .string(version.rawValue), "interfaces": [host, pod], "ips": .array(ips),
            "routes": .array(routes), "dns": dns ?? [:],
        ]
    }
}
