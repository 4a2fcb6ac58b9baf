import HTTP
import XDS

/// An authorization service that speaks `envoy.service.auth.v3.Authorization`.
final class AuthzGRPCService: Sendable {
    let target: CallTarget
    let metadata: [(HeaderKey, [UInt8])]

    init(_ target: CallTarget, metadata: [(HeaderKey, [UInt8])]) {
        self.target = target
        self.metadata = metadata
    }

    func check(
        _ stream: HTTPStream, _ attributes: AuthzAttributes, _ body: AuthzBody?,
        _ extensions: [(key: String, value: String)],
        _ completion: @escaping (AuthzVerdict) -> Void
    ) -> Call {
        let request = CheckRequest(attributes: attributes, stream: stream, body: body, extensions: extensions)
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
