import Bytes
import Glibc
import JSON
import Reactor
import TLS
import TestSupport
import Testing

@testable import MeshControl

private let library = PythonPackage.folder(
    "grpcio", "1.85.0", named: "xds-server", probe: "grpc/__init__.py",
    with: ["xds-protos==1.85.0", "protobuf==7.36.2", "typing_extensions==4.16.0"])

/// The mesh's port as others call it.
@Suite("Certificates by gRPC's own client", .enabled(if: library != nil, "grpcio cannot be installed"))
struct CertificatePeerTests {
    private static let cart = "spiffe://cluster.local/ns/shop/sa/cart"
    private static let script = #filePath.replacing("CertificatePeerTests.swift", with: "certificate_peer.py")

    private func ask(_ bench: MeshBench, _ method: String, as identity: TLSIdentity?, _ arguments: [String] = [])
        async throws -> JSONValue
    {
        let folder = bench.folder.path
        try Files.writeAtomically(folder + "/cluster.pem", bench.cluster.certificate.pem)
        if let identity {
            try Files.writeAtomically(folder + "/peer.pem", identity.chain.map(\.pem).joined())
            try Files.writeAtomically(folder + "/peer.key", identity.key.pem, mode: 0o600)
        }
        let files = identity == nil ? ["-", "-"] : [folder + "/peer.pem", folder + "/peer.key"]
        var configuration = ChildProcess.Configuration(
            ["python3", Self.script, method, "127.0.0.1:\(await bench.port)", folder + "/cluster.pem"] + files
                + arguments)
        configuration.environment = [
            "PATH=\(Environment["PATH"] ?? "/usr/bin:/bin")", "PYTHONPATH=\(library ?? "")",
            "PYTHONDONTWRITEBYTECODE=1",
        ]
        let output = try await ChildProcess.run(configuration, on: bench.loop, timeout: .seconds(120))
        try #require(output.status.isSuccess, "\(output.errorText)")
        return try JSONValue.parse(output.stdout)
    }

    @Test(
        "a node has its pod's certificate; openssl verifies it against the bundle; the pod has its next one by itself")
    func granted() async throws {
        try await MeshBench.run { bench in
            let pod = try await bench.pod("cart-1")
            let metadata = [
                "ImpersonatedIdentity=\(Self.cart)", "PodName=cart-1", "PodNamespace=shop", "PodUID=\(pod.uid)",
            ]
            let node = try bench.identity(node: "n1")
            let answer = try await ask(bench, "sign", as: node, [Self.cart] + metadata)
            let chain = answer["chain"]?.array?.compactMap(\.string) ?? []
            try #require(chain.count == 3, "\(answer)")
            let bundles = try await ask(bench, "trust", as: node)
            let root = try #require(bundles["bundles"]?["spiffe://cluster.local"]?.string)
            let folder = bench.folder.path
            try Files.writeAtomically(folder + "/leaf.pem", chain[0])
            try Files.writeAtomically(folder + "/above.pem", chain[1])
            try Files.writeAtomically(folder + "/root.pem", root)
            let verdict = try await ChildProcess.run(
                .init([
                    "openssl", "verify", "-x509_strict", "-CAfile", folder + "/root.pem", "-untrusted",
                    folder + "/above.pem", folder + "/leaf.pem",
                ]), on: bench.loop)
            #expect(verdict.text.contains("OK"), "\(verdict.errorText)")
            #expect(String(decoding: bench.metrics.render(), as: UTF8.self).contains("citadel_server_csr_count 1\n"))

            // By its own certificate it may have another of the same name, and no other.
            let key = try PrivateKey.generate()
            let own = try TLSIdentity(
                chain: [
                    try bench.authority.current.certify(
                        key.publicKey, as: try #require(.init(Self.cart)), lifetime: 60)
                ] + bench.authority.current.issuer.chain, key: key)
            #expect(try await ask(bench, "sign", as: own, [Self.cart])["chain"]?.array?.count == 3)
            let refused = try await ask(bench, "sign", as: own, ["spiffe://cluster.local/ns/shop/sa/web"])
            #expect(refused["code"]?.string == "PERMISSION_DENIED", "\(refused)")
        }
    }

    @Test("whoever may not have one is told why")
    func refused() async throws {
        try await MeshBench.run { bench in
            let pod = try await bench.pod("cart-1")
            let metadata = [
                "ImpersonatedIdentity=\(Self.cart)", "PodName=cart-1", "PodNamespace=shop", "PodUID=\(pod.uid)",
            ]
            let other = try await ask(bench, "sign", as: bench.identity(node: "n2"), [Self.cart] + metadata)
            #expect(other["code"]?.string == "PERMISSION_DENIED")
            #expect(other["message"]?.string?.hasSuffix("it is bound to node n1") ?? false, "\(other)")
            let nobody = try await ask(bench, "sign", as: nil, [Self.cart] + metadata)
            #expect(nobody["code"]?.string == "UNAUTHENTICATED", "\(nobody)")
            let person = try bench.cluster.issue(
                CertificateTemplate(
                    subject: DistinguishedName(commonName: "weft-admin", organizations: ["system:masters"]),
                    purpose: .client))
            let admin = try await ask(bench, "sign", as: person, [Self.cart] + metadata)
            #expect(admin["message"]?.string?.contains("user \"weft-admin\" is no node") ?? false, "\(admin)")
            let text = String(decoding: bench.metrics.render(), as: UTF8.self)
            #expect(text.contains("citadel_server_authentication_failure_count 2\n"), "\(text)")
            #expect(text.contains("citadel_server_success_cert_issuance_count 0\n"))
        }
    }
}
