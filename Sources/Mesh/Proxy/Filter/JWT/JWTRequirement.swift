import Bytes

/// What a request must prove (`JwtRequirement`).
indirect enum JWTRequirement: Sendable {
    case nothing
    /// `audiences`: in place of the provider's own.
    case provider(JWTProvider, audiences: Set<String>?)
    case any([JWTRequirement])
    case all([JWTRequirement])
    /// No token, or good ones of these providers.
    case allowMissing([JWTProvider])
    /// Whatever there is; good tokens of these providers are made use of.
    case allowMissingOrFailed([JWTProvider])
}

/// One try to satisfy a requirement. Pure but for the keys, which `keys` looks up: where some are still to be fetched, the try is
/// made again when they are there.
struct JWTTrial {
    enum KeyState {
        case known(KeySet)
        case failed(JWTFailure)
        /// They were asked for.
        case awaited
    }

    /// A token that held, and whose it is.
    struct Proof {
        var provider: JWTProvider
        var token: ParsedToken
        var place: JWTProvider.Place
    }

    let request: HeaderBlock
    /// Seconds since 1970.
    let now: UInt64
    let keys: (JWTProvider) -> KeyState
    private(set) var proofs: [Proof] = []
    private(set) var failures: [(provider: JWTProvider, failure: JWTFailure)] = []
    /// The answer counts for nothing: keys are missing.
    private(set) var isWaiting = false

    init(_ request: HeaderBlock, now: UInt64, keys: @escaping (JWTProvider) -> KeyState) {
        self.request = request
        self.now = now
        self.keys = keys
    }

    /// nil when it is satisfied.
    mutating func failure(of requirement: JWTRequirement) -> JWTFailure? {
        switch requirement {
        case .nothing: return nil
        case .provider(let provider, let audiences): return failure(of: provider, audiences)
        case .all(let list):
            for part in list { if let failure = failure(of: part) { return failure } }
            return nil
        case .any(let list): return failure(ofAny: list)
        case .allowMissing(let providers): return failure(ofTokensFor: providers)
        case .allowMissingOrFailed(let providers):
            _ = failure(ofTokensFor: providers)
            return nil
        }
    }

    /// A missing token says least about why, an unknown issuer a little more.
    private mutating func failure(ofAny list: [JWTRequirement]) -> JWTFailure? {
        var worst = JWTFailure.missing
        for part in list {
            guard let failure = failure(of: part) else { return nil }
            if failure == .missing || failure == .unknownIssuer && worst != .missing { continue }
            worst = failure
        }
        return worst
    }

    private mutating func failure(of provider: JWTProvider, _ audiences: Set<String>?) -> JWTFailure? {
        var found = false
        for place in provider.options.places {
            guard let token = place.find(in: request) else { continue }
            found = true
            do throws(JWTFailure) {
                let parsed = try ParsedToken(token.text)
                guard provider.options.issuer.isEmpty || parsed.issuer == provider.options.issuer else {
                    throw .unknownIssuer
                }
                try verify(parsed, place, provider, audiences)
            } catch {
                failures.append((provider, error))
                return error
            }
        }
        if !found { failures.append((provider, .missing)) }
        return found ? nil : .missing
    }

    /// Tokens of any of the providers, each judged by the one that its issuer names.
    private mutating func failure(ofTokensFor providers: [JWTProvider]) -> JWTFailure? {
        var first: JWTFailure?
        var seen: Set<String> = []
        for provider in providers {
            for place in provider.options.places {
                guard let token = place.find(in: request) else { continue }
                do throws(JWTFailure) {
                    let parsed = try ParsedToken(token.text)
                    guard
                        let issuer = providers.first(where: {
                            $0.options.issuer == parsed.issuer || $0.options.issuer.isEmpty
                        })
                    else { throw .unknownIssuer }
                    guard issuer === provider, seen.insert(token.text).inserted else { continue }
                    try verify(parsed, place, issuer, nil)
                } catch {
                    failures.append((provider, error))
                    first = first ?? error
                }
            }
        }
        return first
    }

    private mutating func verify(
        _ token: ParsedToken, _ place: JWTProvider.Place, _ provider: JWTProvider, _ audiences: Set<String>?
    ) throws(JWTFailure) {
        try provider.check(token, audiences: audiences, now: now)
        switch keys(provider) {
        case .known(let set): try set.verify(token)
        case .failed(let failure): throw failure
        case .awaited:
            isWaiting = true
            return
        }
        proofs.append(Proof(provider: provider, token: token, place: place))
    }
}
