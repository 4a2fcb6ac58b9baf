import Bytes
import HTTP
import TLS
import XDS

/// Lets in who knows a password (RFC 7617; `envoy.filters.http.basic_auth`).
package final class BasicAuthFilter: Sendable {
    /// SHA-1 of passwords by name, as `htpasswd -s` writes them.
    package struct Users: Sendable {
        private var hashes: [String: [UInt8]] = [:]

        func knows(_ name: String, _ password: some Collection<UInt8>) -> Bool {
            guard let hash = hashes[name] else { return false }
            // In the same time whatever the password has in common with the right one.
            return zip(hash, Digest.sha1(password)).reduce(0) { $0 | $1.0 ^ $1.1 } == 0
        }
    }

    private let users: Users
    private let credentials: HeaderKey
    private let userHeader: HeaderKey?
    private let allowsMissing: Bool
    private let namesUserInMetadata: Bool
    private let allowed, denied: CounterID

    func requestHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        var users = users
        if case .basicAuth(let override)? = stream.settings(slot) { users = override }
        guard let value = stream.request.value(credentials), !value.isEmpty else {
            if allowsMissing { return .proceed }
            return refuse(
                stream, "User authentication failed. Missing username and password.",
                "no_credential_for_basic_auth")
        }
        let scheme: StaticString = "basic "
        guard value.count > scheme.utf8CodeUnitCount,
            equalsIgnoringCase(UnsafeRawBufferPointer(rebasing: value[..<scheme.utf8CodeUnitCount]), scheme)
        else {
            return refuse(
                stream, "User authentication failed. Expected 'Basic' authentication scheme.",
                "invalid_scheme_for_basic_auth")
        }
        let text = String(decoding: value[scheme.utf8CodeUnitCount...], as: UTF8.self)
        guard let decoded = Base64.decode(text), let colon = decoded.firstIndex(of: UInt8(ascii: ":")) else {
            return refuse(
                stream, "User authentication failed. Invalid basic credential format.",
                "invalid_format_for_basic_auth")
        }
        let name = String(decoding: decoded[..<colon], as: UTF8.self)
        guard users.knows(name, decoded[(colon + 1)...]) else {
            return refuse(
                stream, "User authentication failed. Invalid username/password combination.",
                "invalid_credential_for_basic_auth")
        }
        if let userHeader { Array(name.utf8).withUnsafeBytes { stream.request.set(userHeader, $0) } }
        if namesUserInMetadata {
            stream.ownMetadata.values["envoy.filters.http.basic_auth"] = ["username": .string(name)]
        }
        stream.worker.count(allowed)
        return .proceed
    }

    private func refuse(_ stream: HTTPStream, _ body: StaticString, _ details: StaticString) -> FilterStep {
        stream.worker.count(denied)
        let (request, isSecure) = (stream.request, stream.tls != nil)
        stream.reply(401, body: body.bytes, details: details) { response in
            var challenge = GrowingBytes()
            challenge.append("Basic realm=\"")
            if request.scheme.isEmpty {
                challenge.append(isSecure ? "https" : "http")
            } else {
                challenge.append(request.scheme)
            }
            challenge.append("://")
            challenge.append(request.authority)
            challenge.append(request.path)
            challenge.append("\"")
            response.set(Self.challenge, challenge.bytes)
            challenge.deallocate()
        }
        return .replied
    }

    private static let challenge = HeaderKey("www-authenticate")

    init(_ node: ConfigNode, _ context: FilterContext) throws(ConfigError) {
        users = try Users(in: node)
        let user = node.string("forward_username_header")
        userHeader = user.isEmpty ? nil : HeaderKey(user)
        let header = node.string("authentication_header")
        credentials = HeaderKey(header.isEmpty ? "authorization" : header)
        allowsMissing = node.bool("allow_missing")
        namesUserInMetadata = node.bool("emit_dynamic_metadata")
        allowed = context.counter("basic_auth.allowed")
        denied = context.counter("basic_auth.denied")
    }
}

extension BasicAuthFilter.Users {
    /// The `users` of the filter, or of a route: lines `name:{SHA}base64`.
    init(in node: ConfigNode) throws(ConfigError) {
        guard let text = try node.message("users", DataSource.inline) else { throw node.error("users", "is missing") }
        for line in text.split(whereSeparator: { $0 == 10 || $0 == 13 }) where line.first != UInt8(ascii: "#") {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex else {
                throw node.error("users", "basic auth: invalid htpasswd format, username:password is expected")
            }
            let name = String(decoding: line[..<colon], as: UTF8.self)
            let secret = String(decoding: line[(colon + 1)...], as: UTF8.self)
            guard secret.hasPrefix("{SHA}"), let hash = Base64.decode(secret.dropFirst(5)), hash.count == 20 else {
                throw node.error("users", "basic auth: unsupported htpasswd format: please use {SHA}")
            }
            guard hashes.updateValue(hash, forKey: name) == nil else {
                throw node.error("users", "basic auth: duplicate users")
            }
        }
    }
}
