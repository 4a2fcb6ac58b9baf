import HTTP
import JSON
import TLS

/// One issuer whose tokens are accepted (`JwtProvider`): where its tokens are, what must be in them, and what becomes of them.
final class JWTProvider: Sendable {
    enum Keys: Sendable {
        case fixed(KeySet)
        case remote(RemoteKeySet)
    }

    /// A place of a request where a token may be.
    enum Place: Sendable {
        case header(HeaderKey, prefix: [UInt8])
        case parameter([UInt8])
        case cookie([UInt8])
    }

    struct ClaimHeader: Sendable {
        var key: HeaderKey
        var path: [String]
    }

    struct Options: Sendable {
        var issuer = ""
        /// Without scheme and trailing slash; empty for any.
        var audiences: Set<String> = []
        var subjects: StringMatcher?
        var requiresExpiration = false
        /// Seconds; 0 for any.
        var maximumLifetime: UInt64 = 0
        var clockSkew: UInt64 = 60
        var places: [Place] = []
        var keepsToken = false
        var payloadHeader: HeaderKey?
        var padsPayload = false
        var claimHeaders: [ClaimHeader] = []
        var payloadKey = ""
        var headerKey = ""
        var failureKey = ""
        var spaceDelimited: [String] = []
        var clearsRoute = false
    }

    let name: String
    let keys: Keys
    let options: Options

    init(_ name: String, _ keys: Keys, _ options: Options) {
        self.name = name
        self.keys = keys
        self.options = options
    }

    /// Everything about a token but its signature.
    func check(_ token: ParsedToken, audiences: Set<String>?, now: UInt64) throws(JWTFailure) {
        guard now &+ options.clockSkew >= token.notBefore else { throw .notYetValid }
        guard token.expiration == 0 || now <= token.expiration &+ options.clockSkew else { throw .expired }
        if let subjects = options.subjects, !subjects.matches(token.subject) { throw .subject }
        if options.requiresExpiration || options.maximumLifetime > 0 {
            guard token.expiration > 0 else { throw .noExpiration }
        }
        if options.maximumLifetime > 0 {
            let begin = max(token.issuedAt, token.notBefore)
            guard token.expiration <= (begin > 0 ? begin : now) &+ options.maximumLifetime else { throw .lifetime }
        }
        let wanted = audiences ?? options.audiences
        guard wanted.isEmpty || token.audiences.contains(where: { wanted.contains(Self.plain($0)) }) else {
            throw .audience
        }
    }

    /// An audience without what two spellings of one differ in.
    static func plain(_ audience: String) -> String {
        var text = Substring(audience)
        for scheme in ["http://", "https://"] where text.hasPrefix(scheme) { text = text.dropFirst(scheme.count) }
        if text.hasSuffix("/") { text = text.dropLast() }
        return String(text)
    }
}

/// A token as it was found.
struct FoundToken {
    var text: String
    var place: JWTProvider.Place
}

extension JWTProvider.Place {
    /// The token there, if one is.
    func find(in request: HeaderBlock) -> FoundToken? {
        switch self {
        case .header(let key, let prefix):
            return request.withJoined(key) { value in
                guard let value, let token = Self.token(behind: prefix, in: value) else { return nil }
                return FoundToken(text: token, place: self)
            }
        case .parameter(let name):
            return request.withQueryParameter(name) { value in
                value.map { FoundToken(text: String(decoding: $0, as: UTF8.self), place: self) }
            }
        case .cookie(let name):
            return request.cookie(name).map { FoundToken(text: String(decoding: $0, as: UTF8.self), place: self) }
        }
    }

    /// Takes the token out, so that the upstream does not see it. Cookies stay.
    func remove(from request: HeaderBlock) {
        switch self {
        case .header(let key, _): request.remove(key)
        case .parameter(let name): request.removeQueryParameter(name)
        case .cookie: break
        }
    }

    /// What looks like a token behind the first occurrence of the prefix.
    private static func token(behind prefix: [UInt8], in value: UnsafeRawBufferPointer) -> String? {
        var start = 0
        if !prefix.isEmpty {
            guard value.count >= prefix.count,
                let found = (0...(value.count - prefix.count)).first(where: {
                    value[$0..<$0 + prefix.count].elementsEqual(prefix)
                })
            else { return nil }
            start = found + prefix.count
        }
        guard let first = value[start...].firstIndex(where: isTokenByte) else {
            return String(decoding: value, as: UTF8.self)
        }
        return String(decoding: value[first...].prefix(while: isTokenByte), as: UTF8.self)
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
            true
        default: false
        }
    }
}

extension HeaderBlock {
    /// Takes all parameters of a name out of the path's query.
    func removeQueryParameter(_ name: [UInt8]) {
        let path = path
        guard let mark = path.firstIndex(of: UInt8(ascii: "?")) else { return }
        var changed = Array(path[..<mark])
        var separator = UInt8(ascii: "?")
        for piece in path[(mark + 1)...].split(separator: UInt8(ascii: "&")) {
            if piece.prefix(while: { $0 != UInt8(ascii: "=") }).elementsEqual(name) { continue }
            changed.append(separator)
            changed += piece
            separator = UInt8(ascii: "&")
        }
        changed.withUnsafeBytes { setPath($0) }
    }
}
