import Bytes
import JSON

/// The part of a network configuration that means something to us; the rest is for others and passes by.
public struct CNIConfiguration: Sendable {
    public var version: CNIVersion
    public var name: String
    /// The daemon's socket; the key is `socket`.
    public var socket: String
    /// The result of the plugin before us in the chain, as it came.
    public var previousResult: JSONValue?
    /// Attachments that are alive, in a GC call.
    public var validAttachments: [AttachmentID]
    /// What `runtimeConfig` asks for.
    public var addresses: [IPAddress]
    public var hardwareAddress: MACAddress?
    /// Addresses and their keeping where no daemon runs.
    public var standalone: Standalone?
    public var dns: JSONValue?

    public static let defaultSocket = "/run/weft/cni.sock"

    /// The `ipam` section: host-local's shape, so that a file written for it works here.
    public struct Standalone: Hashable, Sendable {
        public var subnets: [CIDR]
        public var directory: String
        public var mtu: UInt32?
        public static let defaultDirectory = "/var/lib/weft/cni"
    }

    /// Reads a configuration and says what is wrong with it by the field's name.
    public init(parsing bytes: [UInt8]) throws(CNIError) {
        let json: JSONValue
        do { json = try JSONValue.parse(bytes) } catch {
            throw CNIError(.decoding, "network configuration is not JSON", details: "\(error)")
        }
        guard json.object != nil else {
            throw CNIError(.decoding, "network configuration is not a JSON object", details: "standard input")
        }
        let text = json["cniVersion"]?.string ?? ""
        guard let version = CNIVersion(rawValue: text) else {
            let known = CNIVersion.allCases.map(\.rawValue).joined(separator: ", ")
            throw CNIError(
                .incompatibleVersion, "cniVersion \"\(text)\" is not spoken here", details: "known: \(known)")
        }
        self.version = version
        guard let name = json["name"]?.string, !name.isEmpty else {
            throw CNIError(.invalidConfiguration, "network configuration has no name", details: "field \"name\"")
        }
        self.name = name
        socket = json["socket"]?.string ?? Self.defaultSocket
        previousResult = json["prevResult"]
        dns = json["dns"]
        validAttachments = try Self.attachments(json["cni.dev/valid-attachments"])
        let runtime = json["runtimeConfig"]
        addresses = try Self.requested(runtime?["ips"], "runtimeConfig.ips")
        hardwareAddress = try runtime?["mac"]?.string.map { text throws(CNIError) in
            guard let mac = MACAddress(text) else { throw Self.invalid("runtimeConfig.mac", text, "six bytes in hex") }
            return mac
        }
        standalone = try Self.standalone(json["ipam"], mtu: json["mtu"])
    }

    private static func attachments(_ json: JSONValue?) throws(CNIError) -> [AttachmentID] {
        var found: [AttachmentID] = []
        for item in json?.array ?? [] {
            guard let container = item["containerID"]?.string, let interface = item["ifname"]?.string,
                let id = AttachmentID(containerID: container, interface: interface)
            else {
                // To skip it would be to reap a live pod's interface.
                throw invalid("cni.dev/valid-attachments", item.encodedString(), "{containerID, ifname}")
            }
            found.append(id)
        }
        return found
    }

    private static func requested(_ json: JSONValue?, _ field: String) throws(CNIError) -> [IPAddress] {
        var found: [IPAddress] = []
        for item in json?.array ?? [] {
            let text = item.string ?? item.encodedString()
            guard let address = CIDR(text)?.address ?? IPAddress(text) else { throw invalid(field, text, "an address") }
            found.append(address)
        }
        return found
    }

    private static func standalone(_ ipam: JSONValue?, mtu: JSONValue?) throws(CNIError) -> Standalone? {
        guard let ipam, ipam.object != nil else { return nil }
        var texts: [String] = []
        if let one = ipam["subnet"]?.string { texts.append(one) }
        for set in ipam["ranges"]?.array ?? [] {
            for range in set.array ?? [] { if let one = range["subnet"]?.string { texts.append(one) } }
        }
        var subnets: [CIDR] = []
        for text in texts {
            guard let subnet = CIDR(text) else { throw invalid("ipam.subnet", text, "a prefix such as 10.1.0.0/24") }
            guard !subnets.contains(where: { $0.address.family == subnet.address.family }) else {
                throw invalid("ipam.ranges", text, "at most one subnet of each address family")
            }
            subnets.append(subnet.network)
        }
        guard !subnets.isEmpty else { return nil }
        var packetSize: UInt32?
        if let mtu {
            guard let value = mtu.int.flatMap({ UInt32(exactly: $0) }), (PacketSize.minimum...65_535).contains(value)
            else { throw invalid("mtu", mtu.encodedString(), "\(PacketSize.minimum) to 65535") }
            packetSize = value
        }
        return Standalone(
            subnets: subnets, directory: ipam["dataDir"]?.string ?? Standalone.defaultDirectory, mtu: packetSize)
    }

    private static func invalid(_ field: String, _ value: String, _ expected: String) -> CNIError {
        CNIError(
            .invalidConfiguration, "network configuration field \"\(field)\" is not usable",
            details: "found \(value), expected \(expected)")
    }
}
