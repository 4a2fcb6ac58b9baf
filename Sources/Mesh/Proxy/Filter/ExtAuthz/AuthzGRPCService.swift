import HTTP
import XDS

/// An authorization service that speaks `envoy.service.auth.v3.Authorization`.
final class AuthzGRPCService: Sendable {
    let target: CallTarget
    let metadata: [(HeaderKey, [UInt8])]
    /// Fields of the client's request that the service sees; all where none is named.
    let asked: HeaderNameMatcher
    let withheld: HeaderNameMatcher
    let includesCertificate: Bool
    let includesSession: Bool
    let metadataNamespaces: [String]

    init(
        _ target: CallTarget, metadata: [(HeaderKey, [UInt8])], asked: HeaderNameMatcher, withheld: HeaderNameMatcher,
        includesCertificate: Bool, includesSession: Bool, metadataNamespaces: [String]
    ) {
        self.target = target
        self.metadata = metadata
        self.asked = asked
        self.withheld = withheld
        self.includesCertificate = includesCertificate
        self.includesSession = includesSession
        self.metadataNamespaces = metadataNamespaces
    }

    func check(
        _ stream: HTTPStream, _ body: AuthzBody?, _ extensions: [(key: String, value: String)],
        _ completion: @escaping (AuthzVerdict) -> Void
    ) -> Call {
        let request = CheckRequest(service: self, stream: stream, body: body, extensions: extensions)
        return GRPCCall.start(
            stream.worker, target, path: "/envoy.service.auth.v3.Authorization/Check", message: request.encoded(),
            metadata: { head in
                for (key, value) in metadata { value.withUnsafeBytes { head.add(key, $0) } }
            }
        ) { result in
            guard case .message(let bytes) = result, let verdict = try? AuthzVerdict(checkResponse: bytes) else {
                return completion(AuthzVerdict(.failed))
            }
            completion(verdict)
        }
    }
}
