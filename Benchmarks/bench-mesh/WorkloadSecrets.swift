import Bytes
import Discovery
import HTTP
import JSON
import Reactor
import TLS
import XDS

/// What weft-node hands a sidecar over SDS: the certificate that `WorkloadFiles` has written, and whom it trusts.
enum WorkloadSecrets {
    /// Called on the loop of the group.
    static func serve(_ folder: String, trusting roots: [Certificate], at path: String, on group: EventLoopGroup)
        async throws
    {
        let scope = ServedScope("secrets")
        // Proof for `nonisolated(unsafe)`: the group has one loop, and this is called on it.
        nonisolated(unsafe) let server = DiscoveryServer(loop: group.all[0], identifier: "bench-mesh") { _, _ in [scope]
        }
        server.publish(
            [
                try secret(
                    "default", "tls_certificate",
                    [
                        "certificate_chain": inline(Files.readText(folder + "/cert.pem")),
                        "private_key": inline(Files.readText(folder + "/key.pem")),
                    ]),
                try secret("ROOTCA", "validation_context", ["trusted_ca": inline(roots.map(\.pem).joined())]),
            ], in: scope)
        let door = HTTPServer(group: group, address: .unix(path: path), limits: DiscoveryServer.limits) { _ in server }
        _ = try await door.start()
    }

    private static func inline(_ pem: String) -> JSONValue { ["inline_bytes": .string(Base64.encode(pem.utf8))] }

    private static func secret(_ name: String, _ member: String, _ value: JSONValue) throws -> ServedChange {
        guard let type = Message(ResourceKind.secret.rawValue)?.type else { throw Failure("no such secret") }
        let json: JSONValue = .object(["name": .string(name), member: value])
        return ServedChange(.secret, name, try Message(json: json, type: type).binary())
    }
}
