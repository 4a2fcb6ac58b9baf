/// What is counted of PROXY headers (`proxy_proto.`), all listeners together where they have no prefix of their own.
package struct ProxyProtocolCounters: Sendable {
    private struct Version {
        var found, disallowed, error: CounterID

        init(_ context: BuildContext, _ prefix: String) {
            found = context.counters.counter(prefix + "found")
            disallowed = context.counters.counter(prefix + "disallowed")
            error = context.counters.counter(prefix + "error")
        }
    }

    private let absentAllowed, absentDisallowed: CounterID
    private let v1, v2: Version

    init(_ context: BuildContext, prefix: String) {
        let scope = prefix.isEmpty ? "proxy_proto." : "proxy_proto.\(prefix)."
        absentAllowed = context.counters.counter(scope + "not_found_allowed")
        absentDisallowed = context.counters.counter(scope + "not_found_disallowed")
        v1 = Version(context, scope + "versions.v1.")
        v2 = Version(context, scope + "versions.v2.")
    }

    /// nil while the header is not whole.
    func counter(of verdict: ProxyProtocolDecoder.Verdict) -> CounterID? {
        switch verdict {
        case .needsMore: return nil
        case .absent: return absentAllowed
        case .found(let header, _): return of(header.version).found
        case .refused(let refusal):
            guard let version = refusal.version else { return absentDisallowed }
            return refusal.isDisallowedVersion ? of(version).disallowed : of(version).error
        }
    }

    private func of(_ version: ProxyProtocolHeader.Version) -> Version { version == .v1 ? v1 : v2 }
}
