import ClusterAPI
import HTTP
import TLS

/// Finds out who sent a request: by client certificate, by static token, by service account token; else nobody.
struct Authenticator: Sendable {
    /// Tokens from a file, by the token.
    let staticTokens: [String: UserInfo]
    let serviceAccounts: ServiceAccountTokens

    /// - Throws: `unauthorized` when credentials were shown that are not good: nobody is not the same as somebody
    ///   with a wrong key.
    func authenticate(_ request: HTTPRequest, in registry: Registry) async throws(StatusError) -> UserInfo {
        if let text = request.headers[.authorization] {
            guard text.lowercased().hasPrefix("bearer ") else { throw .unauthorized() }
            let token = text.dropFirst(7).drop { $0 == " " }
            guard let user = await user(ofToken: String(token), audiences: [], in: registry) else {
                throw .unauthorized()
            }
            return user
        }
        // TLS has verified the chain against the cluster's authority, or there is none.
        if let leaf = request.tls?.chain.first {
            let subject = leaf.subject
            guard !subject.commonName.isEmpty else { throw .unauthorized() }
            return UserInfo(name: subject.commonName, groups: subject.organizations + ["system:authenticated"])
        }
        return .anonymous
    }

    /// Nil when the token is not good.
    func user(ofToken token: String, audiences: [String], in registry: Registry) async -> UserInfo? {
        if let known = staticTokens[token] { return known }
        return await serviceAccounts.user(of: token, audiences: audiences, in: registry)
    }

    /// Reads a token file: one line a token, `token,user,uid,"group1,group2"`.
    /// - Throws: a sentence that names the line.
    static func staticTokens(_ text: String) throws(ConfigurationError) -> [String: UserInfo] {
        var tokens: [String: UserInfo] = [:]
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let line = line.drop { $0 == " " }
            if line.isEmpty || line.hasPrefix("#") { continue }
            let quoted = line.split(separator: "\"", omittingEmptySubsequences: false)
            let fields = quoted[0].split(separator: ",", omittingEmptySubsequences: false).map(String.init)
            guard fields.count >= 3, !fields[0].isEmpty, !fields[1].isEmpty else {
                throw ConfigurationError("token file, line \(number + 1): expected token,user,uid[,\"group,…\"]")
            }
            let groups =
                quoted.count > 1
                ? quoted[1].split(separator: ",").map(String.init) : fields.dropFirst(3).filter { !$0.isEmpty }
            tokens[fields[0]] = UserInfo(
                name: fields[1], uid: fields[2], groups: groups + ["system:authenticated"])
        }
        return tokens
    }
}

/// What is wrong with what the user configured.
public struct ConfigurationError: Error, Sendable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}
