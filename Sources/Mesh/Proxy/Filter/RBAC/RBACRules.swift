import Bytes

/// Who may do what: the engine of access control, over requests and over connections alike. A pure value.
struct RBACRules: Sendable {
    enum Effect: Sendable { case allow, deny, log }
    /// What they decide over: connections have nothing of HTTP.
    enum Subjects: Sendable { case requests, connections }

    struct Policy: Sendable {
        let name: String
        let permissions: [RBACCondition]
        let principals: [RBACCondition]

        /// One of the permissions, and one of the principals.
        func matches(_ subject: MatchSubject) -> Bool {
            permissions.contains { $0.holds(subject) } && principals.contains { $0.holds(subject) }
        }
    }

    struct Decision {
        let allows: Bool
        /// What decided: nil where nothing matched.
        let policy: String?
        /// The access log is told of the request (`LOG`).
        var logs: Bool?
    }

    let effect: Effect
    /// By name, ascending: the first that matches counts.
    let policies: [Policy]

    func decide(_ subject: MatchSubject) -> Decision {
        let policy = policies.first { $0.matches(subject) }?.name
        return switch effect {
        case .allow: Decision(allows: policy != nil, policy: policy)
        case .deny: Decision(allows: policy == nil, policy: policy)
        case .log: Decision(allows: true, policy: policy, logs: policy != nil)
        }
    }
}

/// The same by a matcher tree, whose actions name a policy and what it does.
struct RBACMatcher: Sendable {
    struct Action: Sendable {
        let name: String
        let effect: RBACRules.Effect
    }

    let tree: MatchTree<Action>

    /// What nothing matches is denied.
    func decide(_ subject: MatchSubject) -> RBACRules.Decision {
        guard let action = tree.decide(subject) else { return RBACRules.Decision(allows: false, policy: nil) }
        return RBACRules.Decision(
            allows: action.effect != .deny, policy: action.name, logs: action.effect == .log ? true : nil)
    }
}

enum RBACEngine: Sendable {
    case rules(RBACRules)
    case matcher(RBACMatcher)

    func decide(_ subject: MatchSubject) -> RBACRules.Decision {
        switch self {
        case .rules(let rules): rules.decide(subject)
        case .matcher(let matcher): matcher.decide(subject)
        }
    }
}

/// One condition of a policy: Envoy's permissions and principals in one tree, as most of them may stand on either side.
indirect enum RBACCondition: Sendable {
    case anything
    case all([RBACCondition])
    case any([RBACCondition])
    case not(RBACCondition)
    case header(HeaderMatcher)
    /// The path without its query.
    case path(StringMatcher)
    case destination(AddressRanges)
    /// In [first, last).
    case destinationPort(Int, Int)
    case serverName(StringMatcher)
    case metadata(MetadataMatcher, ofRoute: Bool)
    case filterState(FilterStateMatcher)
    /// The connection's client, as a PROXY header says it, whatever HTTP says.
    case source(AddressRanges)
    /// The socket's peer.
    case directRemote(AddressRanges)
    case remote(AddressRanges)
    /// A client with a certificate; nil for whoever TLS let in.
    case authenticated(StringMatcher?)
    /// An input of the matching API, tested as there.
    case input(MatchTree<Bool>.Predicate)

    func holds(_ subject: MatchSubject) -> Bool {
        switch self {
        case .anything: return true
        case .all(let conditions): return conditions.allSatisfy { $0.holds(subject) }
        case .any(let conditions): return conditions.contains { $0.holds(subject) }
        case .not(let condition): return !condition.holds(subject)
        case .header(let matcher):
            guard let stream = subject.stream else { return false }
            return matcher.matches(stream.request)
        case .path(let matcher):
            guard let stream = subject.stream else { return false }
            return matcher.matches(stream.request.pathWithoutFragment)
        case .destination(let ranges): return Self.lies(subject.origin.local, in: ranges)
        case .destinationPort(let first, let last):
            guard let port = subject.origin.local.port else { return false }
            return first <= Int(port.rawValue) && Int(port.rawValue) < last
        case .serverName(let matcher): return matcher.matches(subject.origin.serverName)
        case .metadata(let matcher, let ofRoute):
            return ofRoute
                ? matcher.matches(subject.stream?.route?.metadata[matcher.filter])
                : matcher.matches(subject.stream?.metadata)
        case .filterState(let matcher): return matcher.matches(subject.stream?.metadata)
        case .source(let ranges): return Self.lies(subject.origin.remote, in: ranges)
        case .directRemote(let ranges): return Self.lies(subject.origin.directRemote, in: ranges)
        case .remote(let ranges): return Self.lies(subject.remote, in: ranges)
        case .authenticated(let matcher): return Self.isAuthenticated(subject, matcher)
        case .input(let predicate): return predicate.holds(subject)
        }
    }

    private static func lies(_ address: SocketAddress, in ranges: AddressRanges) -> Bool {
        guard let address = address.address else { return false }
        return ranges.contains(address) || ranges.contains(address.unmapped)
    }

    /// The names of a certificate in their order of rank: URIs, DNS names, the subject.
    private static func isAuthenticated(_ subject: MatchSubject, _ matcher: StringMatcher?) -> Bool {
        guard let session = subject.connection?.tlsSession else { return false }
        guard let matcher else { return true }
        guard let certificate = session.peerCertificate else { return matcher.matches("") }
        let names = certificate.alternativeNames
        if names.uris.contains(where: { matcher.matches($0) }) { return true }
        if names.dns.contains(where: { matcher.matches($0) }) { return true }
        return matcher.matches(certificate.subjectText)
    }
}

extension HeaderBlock {
    /// The path without query and fragment.
    var pathWithoutFragment: UnsafeRawBufferPointer {
        let path = path
        let end = path.firstIndex { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }
        return UnsafeRawBufferPointer(rebasing: path[..<(end ?? path.count)])
    }
}
