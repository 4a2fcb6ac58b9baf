import GRPC
import HTTP
import MeshIdentity
import Reactor
import TLS

/// Asks the mesh's authority, as this node.
final class AuthorityClient: Sendable {
    /// For one certificate; beyond, it is asked for again.
    static let patience: Duration = .seconds(10)
    /// Bytes of a certificate's answer, or of a bundle.
    static let messageLimit = 1 << 20

    private let client: HTTPClient
    private let configuration: MeshNodeConfiguration
    private let trustDomain: String
    private let lifetime: Int64

    init(_ configuration: MeshNodeConfiguration, on loop: EventLoop) throws(TLSError) {
        var limits = HTTPClientLimits()
        // All calls share one connection; a second one for when that is full, a third after the node's certificate has changed.
        limits.connections = 3
        limits.bodyBytes = Self.messageLimit
        client = HTTPClient(
            on: loop, endpoint: configuration.control, tls: try configuration.context(as: configuration.identity),
            limits: limits)
        self.configuration = configuration
        trustDomain = configuration.trustDomain
        lifetime = configuration.lifetime
    }

    /// Shows another certificate of the same node from the next call on.
    func use(_ identity: TLSIdentity) throws(TLSError) {
        client.replaceTLS(try configuration.context(as: identity))
    }

    private static let headers: HTTPHeaders = ["content-type": "application/grpc", "te": "trailers"]

    /// A new key and its certificate for a pod.
    func credential(for pod: MeshPod) async throws -> WorkloadCredential {
        let key = try PrivateKey.generate(.p256)
        let identity = pod.identity(in: trustDomain)
        let csr = try CertificateRequest.pem(
            subject: DistinguishedName(commonName: ""), names: AlternativeNames(uris: ["\(identity)"]), key: key)
        let request = CertificateCall.Request(
            csr: csr, lifetime: lifetime,
            metadata: [
                CertificateCall.Metadata.impersonated: "\(identity)", CertificateCall.Metadata.podName: pod.name,
                CertificateCall.Metadata.podNamespace: pod.namespace, CertificateCall.Metadata.podUID: pod.uid,
            ])
        let answer = try await client.request(
            "POST", CertificateCall.path, headers: Self.headers, body: GRPCMessages.framed(request.bytes),
            timeout: Self.patience)
        var messages = GRPCMessages(limit: Self.messageLimit)
        messages.append(answer.body)
        let message = try messages.next()
        try Self.check(answer.status, answer.headers, answer.trailers)
        guard let message else { throw GRPCEnding(.internalError, "the answer is empty") }
        return try WorkloadCredential(CertificateCall.Response(message), key: key, identity: identity)
    }

    /// What is trusted: now, and whenever it changes. Ends with the connection.
    func bundles() async throws -> HTTPResponseStream {
        var headers = Self.headers
        headers[TrustBundles.header] = "true"
        let stream = try await client.stream(
            "POST", TrustBundles.path, headers: headers, body: GRPCMessages.framed([]), headTimeout: Self.patience)
        try Self.check(stream.status, stream.headers, HTTPHeaders(), isWhole: false)
        return stream
    }

    /// How a call ended, by its trailers or, where there is nothing else, by its headers.
    static func check(
        _ status: Int, _ headers: HTTPHeaders, _ trailers: HTTPHeaders, isWhole: Bool = true
    ) throws(GRPCEnding) {
        guard status == 200 else { throw GRPCEnding(.unavailable, "HTTP status \(status)") }
        guard let code = trailers["grpc-status"] ?? headers["grpc-status"] else {
            guard isWhole else { return }
            throw GRPCEnding(.unavailable, "the answer was cut off")
        }
        guard code != "0" else { return }
        let message = trailers["grpc-message"] ?? headers["grpc-message"] ?? ""
        throw GRPCEnding(code: Int(code) ?? GRPCEnding.Code.unknown.rawValue, GRPCEnding.text(ofField: message.utf8))
    }
}
