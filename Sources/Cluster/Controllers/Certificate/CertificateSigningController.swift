import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Reactor
import TLS

/// Grants nodes their own certificates anew, and signs what a person has approved for nodes; both as upstream's approving, signing and
/// cleaning controllers do. Other signers are other people's affair.
final class CertificateSigningController: Controller {
    let name = "certificatesigningrequest-signing-controller"
    private let context: ControllerContext
    private let authority: CertificateAuthority
    /// Seconds that a certificate lives at most.
    private let lifetime: Int64
    private let requests: Informer<KubeObject>
    private let queue: WorkQueue<ObjectKey>

    private static let resource = GroupVersionResource(
        group: "certificates.k8s.io", resource: "certificatesigningrequests")
    /// Seconds that a request is kept that has come to its end, and one that has not.
    private static let (keptFinished, keptPending): (Int64, Int64) = (3600, 86_400)
    /// Seconds; nobody may ask for less (certificates.k8s.io/v1, `expirationSeconds`).
    private static let shortest: Int64 = 600

    init(_ context: ControllerContext, authority: CertificateAuthority, lifetime: Int64) {
        (self.context, self.authority, self.lifetime) = (context, authority, lifetime)
        requests = context.informers[Self.resource]
        let queue = WorkQueue<ObjectKey>(loop: context.loop)
        self.queue = queue
        requests.onEvent { event in
            switch event {
            case .added(let key, _), .updated(let key, _, _): queue.add(key)
            case .deleted, .synced: break
            }
        }
    }

    func run() async { await reconcile(name, queue, workers: 1, log: context.log, sync) }

    private func sync(_ key: ObjectKey) async throws -> ReconcileResult {
        guard let request = requests.get(key), NodeCertificateRule.signers.contains(request.spec.text("signerName"))
        else { return .done }
        let isFinished =
            !request.status.text("certificate").isEmpty || request.hasCondition("Denied")
            || request.hasCondition("Failed")
        let kept = isFinished ? Self.keptFinished : Self.keptPending
        let made = request.creationTimestamp.flatMap { Timestamp(rfc3339: $0) } ?? context.now()
        let left = made.seconds + kept - context.now().seconds
        guard left > 0 else {
            do { try await context.client.delete(Self.resource, key, uid: request.uid) } catch let error as StatusError
                where error.code == 404
            {}
            return .done
        }
        if !isFinished { try await decide(request) }
        return .again(after: .seconds(left))
    }

    private func decide(_ request: KubeObject) async throws {
        let rule: NodeCertificateRule
        do throws(NodeCertificateRule.Refusal) { rule = try NodeCertificateRule(request) } catch {
            // Until somebody has approved it nothing is wrong: it is a person's to look at.
            guard request.hasCondition("Approved") else { return }
            return try await write(request, "status") { status in
                Self.add("Failed", "SignerValidationFailure", "\(error)", to: &status, context.now())
            }
        }
        guard request.hasCondition("Approved") else {
            guard rule.isOwn else { return }
            return try await write(request, "approval") { status in
                Self.add(
                    "Approved", "AutoApproved", "a node asks for its own certificate", to: &status, context.now())
            }
        }
        let asked = request.spec["expirationSeconds"]?.int ?? lifetime
        let subject = rule.request.subject
        let certificate = try authority.issue(
            CertificateTemplate(
                subject: subject, purpose: rule.purpose, lifetime: min(max(asked, Self.shortest), lifetime),
                now: context.now()), for: rule.request.publicKey)
        try await write(request, "status") { status in
            let chain = ([certificate] + authority.chain).map(\.pem).joined()
            status["certificate"] = .string(Base64.encode(Array(chain.utf8)))
        }
        context.log.info(
            "node's certificate issued",
            ["node": subject.commonName, "serial": certificate.serial, "until": certificate.notAfter.rfc3339])
    }

    private static func add(
        _ type: String, _ reason: String, _ message: String, to status: inout JSONValue, _ now: Timestamp
    ) {
        status["conditions"] = .array(
            settingCondition(
                status["conditions"]?.array ?? [], type, true, reason: reason, message: message, now: now,
                updateTimeField: "lastUpdateTime"))
    }

    private func write(
        _ request: KubeObject, _ subresource: String, _ change: (inout JSONValue) -> Void
    ) async throws {
        var changed = request
        var status = request.json["status"] ?? [:]
        change(&status)
        changed.json["status"] = status
        do {
            _ = try await context.client.update(Self.resource, changed, subresource: subresource)
        } catch let error as StatusError where error.code == 404 {}
    }
}
