import Bytes
import ClusterAPI
import ClusterClient
import Discovery
import GRPC
public import HTTP
import MeshIdentity
import Reactor
import TLS
import Telemetry

/// What is served on the mesh's port: certificates, what is trusted, and discovery. Belongs to one loop.
public final class MeshPortService: HTTPService, @unchecked Sendable {
    // Proof for `@unchecked`: touched on the loop only.

    /// Bytes of a request for a certificate.
    static let requestLimit = 64 << 10

    private let plane: MeshControlPlane
    private let authority: LiveMeshAuthority
    private let cluster: [Certificate]
    /// Seconds: what is given where nothing is asked for, and the most.
    private let lifetime: Int64
    private let metrics: CertificateMetrics
    private let log: Log
    private var followers: [ObjectIdentifier: HTTPExchange] = [:]

    /// - Parameter lifetime: Of certificates: what is given where nothing is asked for, and the most.
    public init(
        _ plane: MeshControlPlane, _ authority: LiveMeshAuthority, cluster: [Certificate], lifetime: Duration,
        metrics: MetricsRegistry, log: Log
    ) {
        (self.plane, self.authority, self.cluster, self.log) = (plane, authority, cluster, log)
        self.lifetime = lifetime.components.seconds
        self.metrics = CertificateMetrics(metrics)
        authority.onChange { [weak self] in self?.changed($0) }
        plane.authenticate = { [weak self] peer throws(GRPCEnding) in
            guard let self else { throw GRPCEnding(.unavailable, "the control plane stops") }
            return try MeshPeer(peer, cluster: self.cluster, trustDomain: self.authority.trustDomain)
        }
    }

    /// A call that is one message each way; of one without end, the question.
    private final class Call: @unchecked Sendable {
        // Proof for `@unchecked`: touched on the loop only.
        let exchange: HTTPExchange
        let peer: MeshPeer
        let isBundles: Bool
        var messages = GRPCMessages(limit: MeshPortService.requestLimit)

        init(_ exchange: HTTPExchange, _ peer: MeshPeer, isBundles: Bool) {
            (self.exchange, self.peer, self.isBundles) = (exchange, peer, isBundles)
        }

        /// Nobody waits for the answer any more.
        var isOver: Bool { exchange.context !== self }
    }

    // MARK: Requests

    public func head(_ head: MessageHead, of exchange: HTTPExchange) {
        let path = String(decoding: head.target, as: UTF8.self)
        guard path == CertificateCall.path || path == TrustBundles.path else {
            return plane.server.head(head, of: exchange)
        }
        let type = head.value(.contentType).map { String(decoding: $0, as: UTF8.self) } ?? ""
        guard head.method == .post, type == "application/grpc" || type.hasPrefix("application/grpc+proto") else {
            exchange.respond(415, ["accept-post": "application/grpc"])
            return
        }
        let isBundles = path == TrustBundles.path
        if !isBundles { metrics.requests.increment() }
        do throws(GRPCEnding) {
            let peer = try MeshPeer(exchange.tls, cluster: cluster, trustDomain: authority.trustDomain)
            exchange.context = Call(exchange, peer, isBundles: isBundles)
        } catch { refuse(exchange, error, by: nil) }
    }

    public func body(_ bytes: UnsafeRawBufferPointer, of exchange: HTTPExchange) {
        guard let call = exchange.context as? Call else { return plane.server.body(bytes, of: exchange) }
        guard call.messages.waiting + bytes.count <= Self.requestLimit + GRPCMessages.headerBytes else {
            return refuse(
                exchange, GRPCEnding(.resourceExhausted, "a request has \(Self.requestLimit) bytes at most"),
                by: call.peer)
        }
        call.messages.append(bytes)
    }

    public func end(_ exchange: HTTPExchange, trailers: HTTPHeaders) {
        guard let call = exchange.context as? Call else { return plane.server.end(exchange, trailers: trailers) }
        guard !exchange.hasStarted else { return }
        do throws(GRPCEnding) {
            guard let message = try call.messages.next() else {
                throw GRPCEnding(.invalidArgument, "the request has no message")
            }
            guard !call.isBundles else { return follow(exchange) }
            let request: CertificateCall.Request
            do throws(MalformedMessage) { request = try CertificateCall.Request(message) } catch {
                throw GRPCEnding(.invalidArgument, "no request for a certificate: \(error)")
            }
            try answer(request, call, exchange)
        } catch { refuse(exchange, error, by: call.peer) }
    }

    public func drained(_ exchange: HTTPExchange) {
        if !(exchange.context is Call) { plane.server.drained(exchange) }
    }

    public func closed(_ exchange: HTTPExchange) {
        guard exchange.context is Call else { return plane.server.closed(exchange) }
        exchange.context = nil
        followers[ObjectIdentifier(exchange)] = nil
    }

    public func peerStoppedSending(_ exchange: HTTPExchange) {
        if !(exchange.context is Call) { plane.server.peerStoppedSending(exchange) }
    }

    // MARK: Certificates

    private func answer(
        _ request: CertificateCall.Request, _ call: Call, _ exchange: HTTPExchange
    ) throws(GRPCEnding) {
        guard let wish = try CertificateGrant.wish(request, of: call.peer) else {
            guard case .workload(let identity) = call.peer else { return }
            return try issue(CertificateGrant(identity), request, call, exchange)
        }
        guard case .node(let node) = call.peer else { return }
        let trustDomain = authority.trustDomain
        if let grant = try? CertificateGrant(wish, node: node, pod: plane.pods.get(wish.pod), trustDomain: trustDomain)
        {
            return try issue(grant, request, call, exchange)
        }
        // A node may know of its pod before the news has come here; a refusal rests on what is stored.
        Task(executorPreference: plane.loop) { [self] in
            do {
                let pod = try await plane.client.find(.pods, wish.pod).map { MeshPod($0) }
                guard !call.isOver else { return }
                let grant = try CertificateGrant(wish, node: node, pod: pod, trustDomain: trustDomain)
                try issue(grant, request, call, call.exchange)
            } catch {
                guard !call.isOver else { return }
                let ending = error as? GRPCEnding ?? GRPCEnding(.unavailable, "pods cannot be read: \(error)")
                refuse(call.exchange, ending, by: call.peer)
            }
        }
    }

    private func issue(
        _ grant: CertificateGrant, _ request: CertificateCall.Request, _ call: Call, _ exchange: HTTPExchange
    ) throws(GRPCEnding) {
        let key = try grant.key(of: request.csr)
        let asked = request.lifetime > 0 ? min(request.lifetime, lifetime) : lifetime
        let leaf: Certificate
        do throws(TLSError) {
            leaf = try authority.current.certify(key, as: grant.identity, lifetime: asked)
        } catch { throw GRPCEnding(.failedPrecondition, "\(error)") }
        metrics.issued.increment()
        log.info(
            "certificate issued",
            [
                "identity": "\(grant.identity)", "pod": grant.pod?.description ?? "", "for": Self.words(call.peer),
                "serial": leaf.serial, "until": leaf.notAfter.rfc3339,
            ])
        exchange.start(200, ["content-type": "application/grpc"])
        GRPCMessages.framed(authority.current.answer(leaf).bytes).withUnsafeBytes { _ = exchange.write($0) }
        exchange.finish(trailers: ["grpc-status": "0"])
    }

    private func refuse(_ exchange: HTTPExchange, _ ending: GRPCEnding, by peer: MeshPeer?) {
        let isBundles = (exchange.context as? Call)?.isBundles ?? false
        if !isBundles { metrics.count(ending.code) }
        log.warning(
            isBundles ? "trust is not told" : "no certificate issued",
            [
                "for": peer.map(Self.words) ?? exchange.peer.map { "\($0)" } ?? "", "code": "\(ending.code)",
                "why": ending.message,
            ])
        exchange.respond(
            200,
            [
                "content-type": "application/grpc", "grpc-status": String(ending.code),
                "grpc-message": ending.fieldValue,
            ])
    }

    private static func words(_ peer: MeshPeer) -> String {
        switch peer {
        case .node(let name): "node \(name)"
        case .workload(let identity): "\(identity)"
        }
    }

    // MARK: Trust

    private var bundles: [UInt8] {
        GRPCMessages.framed(TrustBundles([authority.trustDomain: authority.current.roots]).bytes)
    }

    private func follow(_ exchange: HTTPExchange) {
        followers[ObjectIdentifier(exchange)] = exchange
        exchange.start(200, ["content-type": "application/grpc"])
        bundles.withUnsafeBytes { _ = exchange.write($0) }
    }

    private func changed(_ authority: MeshAuthority) {
        metrics.show(authority)
        guard !followers.isEmpty else { return }
        bundles.withUnsafeBytes { bytes in for exchange in followers.values { exchange.write(bytes) } }
    }
}
