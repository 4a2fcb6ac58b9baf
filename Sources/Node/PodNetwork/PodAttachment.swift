import Bytes
import JSON
import Netlink

/// Which interface of which container: what CNI keys everything by.
public struct AttachmentID: Hashable, Sendable, CustomStringConvertible {
    public var containerID: String
    public var interface: String

    /// Nil unless the container id is one that CNI allows ([A-Za-z0-9][A-Za-z0-9_.-]*, at most 128 bytes, as it becomes part
    /// of a file name) and the interface is a name that the kernel takes.
    public init?(containerID: String, interface: String) {
        let bytes = containerID.utf8
        func isAlphanumeric(_ b: UInt8) -> Bool {
            (0x30...0x39).contains(b) || (0x41...0x5A).contains(b) || (0x61...0x7A).contains(b)
        }
        guard let head = bytes.first, isAlphanumeric(head), bytes.count <= 128,
            bytes.allSatisfy({ isAlphanumeric($0) || $0 == 0x5F || $0 == 0x2E || $0 == 0x2D }),
            isInterfaceName(interface)
        else { return nil }
        self.containerID = containerID
        self.interface = interface
    }

    public var description: String { "\(containerID)/\(interface)" }
}

/// What a caller asks of `attach`.
public struct AttachRequest: Sendable {
    public var id: AttachmentID
    /// Path of the pod's network namespace, as this process sees it.
    public var namespacePath: String
    /// The pod as people know it, "namespace/name"; becomes the host interface's alias. Nil where it is not known.
    public var pod: String?
    /// Addresses asked for by name; empty takes the next free one of each family.
    public var addresses: [IPAddress]
    /// Ethernet address of the pod's interface; nil derives one from its address.
    public var hardwareAddress: MACAddress?

    public init(
        id: AttachmentID, namespacePath: String, pod: String? = nil, addresses: [IPAddress] = [],
        hardwareAddress: MACAddress? = nil
    ) {
        self.id = id
        self.namespacePath = namespacePath
        self.pod = pod
        self.addresses = addresses
        self.hardwareAddress = hardwareAddress
    }
}

/// A pod's interface as it stands: the answer of `attach`, and the record on disk.
public struct PodAttachment: Hashable, Sendable {
    public var id: AttachmentID
    public var namespacePath: String
    public var pod: String?
    /// At most one of each family, in the order of the node's prefixes: the first is the pod's `podIP`.
    public var addresses: [IPAddress]
    public var hostInterface: String
    public var hardwareAddress: MACAddress
    public var mtu: UInt32

    public init(
        id: AttachmentID, namespacePath: String, pod: String?, addresses: [IPAddress], hostInterface: String,
        hardwareAddress: MACAddress, mtu: UInt32
    ) {
        self.id = id
        self.namespacePath = namespacePath
        self.pod = pod
        self.addresses = addresses
        self.hostInterface = hostInterface
        self.hardwareAddress = hardwareAddress
        self.mtu = mtu
    }
}

extension PodAttachment {
    /// The record's text; `init(json:)` reads it back.
    var json: JSONValue {
        var object: JSONValue = [
            "containerID": .string(id.containerID),
            "interface": .string(id.interface),
            "netns": .string(namespacePath),
            "addresses": .array(addresses.map { .string($0.description) }),
            "hostInterface": .string(hostInterface),
            "mac": .string(hardwareAddress.description),
            "mtu": .int(Int64(mtu)),
        ]
        if let pod { object["pod"] = .string(pod) }
        return object
    }

    init?(json: JSONValue) {
        guard let container = json["containerID"]?.string, let interface = json["interface"]?.string,
            let id = AttachmentID(containerID: container, interface: interface),
            let path = json["netns"]?.string, let host = json["hostInterface"]?.string, isInterfaceName(host),
            let mac = json["mac"]?.string.flatMap({ MACAddress($0) }),
            let mtu = json["mtu"]?.int.flatMap({ UInt32(exactly: $0) }),
            let texts = json["addresses"]?.array
        else { return nil }
        let addresses = texts.compactMap { $0.string.flatMap { IPAddress($0) } }
        guard addresses.count == texts.count else { return nil }
        self.init(
            id: id, namespacePath: path, pod: json["pod"]?.string, addresses: addresses, hostInterface: host,
            hardwareAddress: mac, mtu: mtu)
    }
}
