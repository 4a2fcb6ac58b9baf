import HTTP
import JSON
import TLS

/// An authorization service that is asked by a request like the client's and says by its status.
final class AuthzHTTPService: Sendable {
    let target: CallTarget
    let pathPrefix: [UInt8]
    let pathOverride: [UInt8]
    let added: [(key: HeaderKey, value: [UInt8])]
    let answers: Answers

    /// Which fields of the answer go where.
    struct Answers: Sendable {
        var upstream = HeaderNameMatcher()
        var upstreamAppended = HeaderNameMatcher()
        /// Of a denial to the client; nil for all.
        var client: HeaderNameMatcher?
        var clientOnSuccess = HeaderNameMatcher()
        var metadata = HeaderNameMatcher()
    }

    static let partialBody = HeaderKey("x-envoy-auth-partial-body")
    static let headersToRemove = HeaderKey("x-envoy-auth-headers-to-remove")

    init(
        _ target: CallTarget, pathPrefix: String, pathOverride: String,
        added: [(key: HeaderKey, value: [UInt8])], answers: Answers
    ) {
        self.target = target
        self.pathPrefix = Array(pathPrefix.utf8)
        self.pathOverride = Array(pathOverride.utf8)
        self.added = added
        self.answers = answers
    }

    func check(
        _ stream: HTTPStream, _ attributes: AuthzAttributes, _ body: AuthzBody?,
        _ completion: @escaping (AuthzVerdict) -> Void
    ) -> Call {
        let call = Call(stream.worker, target) { [unowned self] call in completion(verdict(call)) }
        let (request, original) = (call.request, stream.request)
        request.setMethod(original.method, original.methodText)
        if !pathOverride.isEmpty {
            pathOverride.withUnsafeBytes { request.setPath($0) }
        } else {
            (pathPrefix + original.path).withUnsafeBytes { request.setPath($0) }
        }
        request.setAuthority(original.authority)
        for index in 0..<original.count {
            let field = original.fields[index]
            let name = original.name(field)
            guard field.name != .contentLength, attributes.shows(name) else { continue }
            request.add(field.name, name: name, value: original.value(field))
        }
        for field in added { field.value.withUnsafeBytes { request.set(field.key, $0) } }
        if let body {
            request.add(Self.partialBody, (body.isPartial ? "true" as StaticString : "false").bytes)
            body.bytes.withUnsafeBytes { call.body.append($0) }
        }
        request.set(.contentLength, decimal: body?.bytes.count ?? 0)
        call.start()
        return call
    }

    private func verdict(_ call: Call) -> AuthzVerdict {
        let status = call.response.status
        guard call.outcome == .answered, status < 500 else { return AuthzVerdict(.failed) }
        var verdict = AuthzVerdict(status == 200 ? .ok : .denied)
        verdict.status = status
        let response = call.response
        var metadata = JSONObject()
        for index in 0..<response.count {
            let field = response.fields[index]
            let name = response.name(field)
            let key = HeaderKey(String(decoding: name, as: UTF8.self))
            let value = Array(response.value(field))
            if verdict.kind == .ok {
                if answers.upstream.matches(name) {
                    verdict.headers.append(.init(key: key, value: value, action: .set))
                }
                if answers.upstreamAppended.matches(name) {
                    verdict.headers.append(.init(key: key, value: value, action: .appendToValue))
                }
                if answers.clientOnSuccess.matches(name) {
                    verdict.responseHeaders.append(.init(key: key, value: value, action: .add))
                }
            } else if answers.client?.matches(name) ?? true {
                verdict.headers.append(.init(key: key, value: value, action: .add))
            }
            if answers.metadata.matches(name) {
                metadata[String(decoding: name, as: UTF8.self)] = .string(String(decoding: value, as: UTF8.self))
            }
        }
        if !metadata.isEmpty { verdict.metadata = metadata }
        if verdict.kind == .ok {
            if let removed = response.value(Self.headersToRemove) {
                verdict.removed = String(decoding: removed, as: UTF8.self).split(separator: ",").map { name in
                    HeaderKey(String(name.drop { $0 == " " }))
                }
            }
        } else {
            verdict.body = Array(call.answer.bytes)
        }
        return verdict
    }
}
