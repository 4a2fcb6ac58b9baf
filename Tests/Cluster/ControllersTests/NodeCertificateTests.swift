import APIServer
import Bytes
import Glibc
import JSON
import Reactor
import Synchronization
import TLS
import Telemetry
import TestSupport
import Testing

@testable import ClusterAPI
@testable import ClusterClient
@testable import Controllers

@Suite("Certificates of nodes")
struct NodeCertificateTests {
    private static let resource = GroupVersionResource(
        group: "certificates.k8s.io", resource: "certificatesigningrequests")

    private static func object(
        _ subject: DistinguishedName, signer: String = NodeCertificateRule.client,
        usages: [String] = ["digital signature", "client auth"], names: AlternativeNames = AlternativeNames(),
        by user: String = "system:node:n1", groups: [String] = ["system:nodes", "system:authenticated"]
    ) throws -> KubeObject {
        let pem = try CertificateRequest.pem(subject: subject, names: names, key: try PrivateKey.generate())
        var object = KubeObject(
            apiVersion: "certificates.k8s.io/v1", kind: "CertificateSigningRequest", namespace: "", name: "r")
        object.json["spec"] = [
            "request": .string(Base64.encode(Array(pem.utf8))), "signerName": .string(signer),
            "usages": .array(usages.map(JSONValue.string)), "username": .string(user),
            "groups": .array(groups.map(JSONValue.string)),
        ]
        return object
    }

    private static let n1 = DistinguishedName(commonName: "system:node:n1", organizations: ["system:nodes"])

    @Test("a node's own request is granted; another's name waits for a person; what is no node's is refused in words")
    func rule() throws {
        let own = try NodeCertificateRule(try Self.object(Self.n1))
        #expect(own.isOwn && own.purpose == .client)
        let serving = try NodeCertificateRule(
            try Self.object(
                Self.n1, signer: NodeCertificateRule.node, usages: ["digital signature", "client auth", "server auth"]))
        #expect(serving.isOwn && serving.purpose == .peer)
        #expect(try !NodeCertificateRule(try Self.object(Self.n1, by: "system:node:n2")).isOwn)
        #expect(try !NodeCertificateRule(try Self.object(Self.n1, groups: ["system:authenticated"])).isOwn)

        let refused: [(KubeObject, String)] = [
            (
                try Self.object(DistinguishedName(commonName: "system:node:n1", organizations: ["system:masters"])),
                "organization"
            ),
            (try Self.object(DistinguishedName(commonName: "admin", organizations: ["system:nodes"])), "common name"),
            (
                try Self.object(DistinguishedName(commonName: "system:node:", organizations: ["system:nodes"])),
                "common name"
            ),
            (try Self.object(Self.n1, names: AlternativeNames(dns: ["kubernetes"])), "alternative names"),
            (try Self.object(Self.n1, usages: ["client auth", "server auth"]), "usages"),
            (try Self.object(Self.n1, usages: ["digital signature"]), "usages"),
        ]
        for (object, word) in refused {
            let error = #expect(throws: NodeCertificateRule.Refusal.self) { try NodeCertificateRule(object) }
            #expect(error?.description.contains(word) ?? false, "\(error?.description ?? "")")
        }
    }

    @Test(
        "who asks is written by the server; what is asked for stays; a person's approval is enough for another's name")
    func requests() async throws {
        let authority = try CertificateAuthority.create(commonName: "test-ca")
        try await LiveCluster.run(config: { $0.nodeAuthority = authority }) { cluster in
            // This client is an administrator, whatever it writes of itself.
            var forged = try Self.object(Self.n1)
            forged.json["status"] = ["conditions": [["type": "Approved", "status": "True"]]]
            let made = try await cluster.client.create(Self.resource, forged)
            #expect(made.json["spec"]?["username"] != "system:node:n1")
            #expect(made.json["status"]?["conditions"] == nil)
            var changed = made
            changed.json["spec"]?["username"] = "system:node:n1"
            changed.json["spec"]?["groups"] = ["system:nodes"]
            let kept = try await cluster.client.update(Self.resource, changed)
            #expect(kept.json["spec"] == made.json["spec"])
            // A decision is not the status's to write.
            changed = kept
            changed.json["status"] = ["conditions": [["type": "Approved", "status": "True", "reason": "Forged"]]]
            let status = try await cluster.client.update(Self.resource, changed, subresource: "status")
            let written = status.json["status"]?["conditions"]?.array
            #expect(written == nil || written == [])

            changed.json["metadata"]?["resourceVersion"] = status.json["metadata"]?["resourceVersion"]
            changed.json["status"]?["certificate"] = "AAAA"
            let approved = try await cluster.client.update(Self.resource, changed, subresource: "approval")
            #expect(approved.json["status"]?["certificate"] == nil)
            let certificate = try await Self.certificate(of: "r", in: cluster)
            #expect(certificate.isSigned(by: authority.certificate) && certificate.subject == Self.n1)
        }
    }

    private static func certificate(of name: String, in cluster: LiveCluster) async throws -> Certificate {
        let deadline = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < deadline {
            let seen = try await cluster.client.get(resource, ObjectKey(name: name))
            if let bytes = seen.json["status"]?["certificate"]?.string.flatMap({ Base64.decode($0) }) {
                return try #require(Certificate.chain(pem: String(decoding: bytes, as: UTF8.self)).first)
            }
            try await cluster.loop.sleep(for: .milliseconds(20))
        }
        throw StatusError.internalError("no certificate came")
    }

    @Test("a node's certificate is replaced before it ends, kept in a file, and taken up from there")
    func rotation() async throws {
        let authority = try CertificateAuthority.create(commonName: "test-ca")
        let folder = try ScratchFolder()
        let file = folder.path + "/current.pem"
        let old = try authority.issue(CertificateTemplate(subject: Self.n1, purpose: .peer, lifetime: 10))
        // When seven to nine tenths of its life are over, not counting the minutes by which it began early.
        #expect(ClientCertificateRotation.due(old.leaf, share: 0.7).seconds == old.leaf.notAfter.seconds - 3)
        try await LiveCluster.run(config: { $0.nodeAuthority = authority }) { cluster in
            let node = KubeClient(
                cluster.server.transport(
                    as: UserInfo(name: "system:node:n1", groups: ["system:nodes", "system:authenticated"])))
            let rotation = ClientCertificateRotation(node, old, .node, file: file, log: Log.shared)
            let told = Mutex<[String]>([])
            rotation.onChange { identity in told.withLock { $0.append(identity.leaf.serial) } }
            let running = Task(executorPreference: cluster.loop) { await rotation.run() }
            let deadline = ContinuousClock.now + .seconds(60)
            while told.withLock({ $0.isEmpty }), ContinuousClock.now < deadline {
                try await cluster.loop.sleep(for: .milliseconds(20))
            }
            running.cancel()
            await running.value
            let new = rotation.identity
            #expect(told.withLock { $0 } == [new.leaf.serial])
            #expect(new.leaf.serial != old.leaf.serial && !new.leaf.matches(old.key))
            #expect(new.leaf.subject == Self.n1 && new.leaf.isSigned(by: authority.certificate))
            #expect(new.leaf.notAfter > old.leaf.notAfter)
            let kept = try #require(
                ClientCertificateRotation.kept(in: file, insteadOf: old, authorities: [authority.certificate]))
            #expect(kept.leaf == new.leaf)
            var status = stat()
            #expect(stat(file, &status) == 0 && status.st_mode & 0o777 == 0o600)
        }
        // Not of another authority, not another's, not an older one, not one that is over.
        let other = try CertificateAuthority.create(commonName: "other")
        func kept(_ identity: TLSIdentity, _ authority: CertificateAuthority, now: Timestamp = .now()) -> TLSIdentity? {
            ClientCertificateRotation.kept(
                in: file, insteadOf: identity, authorities: [authority.certificate], now: now)
        }
        #expect(kept(old, other) == nil)
        let n2 = DistinguishedName(commonName: "system:node:n2", organizations: ["system:nodes"])
        #expect(
            kept(try authority.issue(CertificateTemplate(subject: n2, purpose: .peer, lifetime: 20)), authority) == nil)
        let longer = CertificateTemplate(subject: Self.n1, purpose: .peer, lifetime: 2 * CertificateTemplate.year)
        #expect(kept(try authority.issue(longer), authority) == nil)
        #expect(
            kept(old, authority, now: Timestamp(seconds: Timestamp.now().seconds + 2 * CertificateTemplate.year)) == nil
        )
    }
}
