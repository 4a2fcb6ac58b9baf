import Bytes
import ClusterAPI
import JSON
import Reactor
import Synchronization
public import TLS
public import Telemetry

/// Keeps a client certificate from ending: asks the API server for the next one, with another key, when most of its life is over, as
/// kubelet's `rotateCertificates` does (certificates.k8s.io/v1). Who it is stays the same.
///
/// The newest is in a file, and is the one to begin with at the next start.
public final class ClientCertificateRotation: Sendable {
    /// Who signs what is asked for, and what it is to be good for.
    public struct Purpose: Sendable {
        public var signer: String
        public var usages: [String]

        /// A node's: it shows the same certificate to the API server and to who calls its own port.
        public static let node = Purpose(
            signer: "weft.dev/node", usages: ["digital signature", "client auth", "server auth"])
    }

    /// Why there is no certificate.
    struct Refusal: Error, CustomStringConvertible { var description: String }

    /// How long an answer is awaited before it is asked for anew: a person may have to approve it.
    static let patience: Duration = .seconds(900)
    /// A folder's name for certificates has kubelet's form.
    private static let resource = GroupVersionResource(
        group: "certificates.k8s.io", resource: "certificatesigningrequests")

    private let client: KubeClient
    private let purpose: Purpose
    private let file: String
    private let log: Log
    private let state: Mutex<State>

    private struct State {
        var identity: TLSIdentity
        var handlers: [@Sendable (TLSIdentity) -> Void] = []
    }

    /// - Parameter file: Where certificate and key are kept, PEM, mode 0600.
    public init(_ client: KubeClient, _ identity: TLSIdentity, _ purpose: Purpose, file: String, log: Log) {
        (self.client, self.purpose, self.file, self.log) = (client, purpose, file, log)
        state = Mutex(State(identity: identity))
    }

    /// What is shown now.
    public var identity: TLSIdentity { state.withLock { $0.identity } }

    /// Calls `handler` for each certificate that comes, from the task that calls `run`.
    public func onChange(_ handler: @escaping @Sendable (TLSIdentity) -> Void) {
        state.withLock { $0.handlers.append(handler) }
    }

    /// What an earlier process has kept, if it is the same client's, by the same authority, lives, and longer than `identity`.
    public static func kept(
        in file: String, insteadOf identity: TLSIdentity, authorities: [Certificate], now: Timestamp = .now()
    ) -> TLSIdentity? {
        guard let text = try? Files.readText(file, limit: 1 << 20),
            let kept = try? TLSIdentity(certificatePEM: text, keyPEM: text),
            kept.leaf.subject == identity.leaf.subject, kept.leaf.notBefore <= now, kept.leaf.notAfter > now,
            kept.leaf.notAfter > identity.leaf.notAfter,
            authorities.isEmpty || authorities.contains(where: { kept.leaf.isSigned(by: $0) })
        else { return nil }
        return kept
    }

    /// Until cancelled.
    public func run() async {
        var backoff = Backoff(initial: .seconds(1), limit: .seconds(60))
        while !Task.isCancelled {
            let leaf = identity.leaf
            let due = Self.due(leaf, share: .random(in: 0.7...0.9))
            // Clocks are set, machines sleep.
            let left = due.seconds - Timestamp.now().seconds
            guard left <= 0 else {
                try? await EventLoop.sleep(for: .seconds(min(left, 60)))
                continue
            }
            do {
                let next = try await request()
                try Files.writeAtomically(
                    file, next.chain.map(\.pem).joined() + next.key.pem, mode: 0o600, sync: true)
                let handlers = state.withLock { state in
                    state.identity = next
                    return state.handlers
                }
                for handler in handlers { handler(next) }
                backoff.reset()
                log.info(
                    "client certificate renewed",
                    ["name": next.leaf.subject.commonName, "until": next.leaf.notAfter.rfc3339])
            } catch is CancellationError {
                return
            } catch {
                let delay = backoff.next()
                log.warning(
                    leaf.notAfter < .now()
                        ? "the client certificate has expired, and there is no new one"
                        : "the client certificate is not renewed yet",
                    ["until": leaf.notAfter.rfc3339, "error": "\(error)", "again": "\(delay)"])
                try? await EventLoop.sleep(for: delay)
            }
        }
    }

    /// When a certificate of which this share has been lived is replaced. They begin five minutes early, since clocks differ.
    static func due(_ leaf: Certificate, share: Double) -> Timestamp {
        let begin = min(leaf.notBefore.seconds + 300, leaf.notAfter.seconds)
        return Timestamp(seconds: begin + Int64(Double(leaf.notAfter.seconds - begin) * share))
    }

    /// A new key and its certificate.
    private func request() async throws -> TLSIdentity {
        let subject = identity.leaf.subject
        let key = try PrivateKey.generate(.p256)
        var object = KubeObject(
            apiVersion: "certificates.k8s.io/v1", kind: "CertificateSigningRequest", namespace: "", name: "")
        object.json["metadata"] = ["generateName": "csr-"]
        object.json["spec"] = [
            "request": .string(Base64.encode(Array(try CertificateRequest.pem(subject: subject, key: key).utf8))),
            "signerName": .string(purpose.signer), "usages": .array(purpose.usages.map(JSONValue.string)),
        ]
        let name = try await client.create(Self.resource, object).name
        let deadline = MonotonicTime.now()
        var pause = Backoff(initial: .milliseconds(50), limit: .seconds(5))
        while MonotonicTime.now().duration(since: deadline) < Self.patience {
            let seen = try await client.get(Self.resource, ObjectKey(name: name))
            for condition in seen.json["status"]?["conditions"]?.array ?? [] {
                let type = condition["type"]?.string ?? ""
                guard type != "Denied", type != "Failed" else {
                    throw Refusal(description: "\(name) is \(type.lowercased()): \(condition["message"]?.string ?? "")")
                }
            }
            if let bytes = seen.json["status"]?["certificate"]?.string.flatMap({ Base64.decode($0) }) {
                let chain = try Certificate.chain(pem: String(decoding: bytes, as: UTF8.self))
                let next = try TLSIdentity(chain: chain, key: key)
                guard next.leaf.subject == subject else {
                    throw Refusal(description: "\(name): the certificate is for \"\(next.leaf.subject)\"")
                }
                return next
            }
            try await EventLoop.sleep(for: pause.next())
        }
        throw Refusal(description: "\(name) was not signed within \(Self.patience)")
    }
}
