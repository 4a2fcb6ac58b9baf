import HTTP

/// How a route changes `:authority`.
enum HostRewrite: Sendable {
    case literal([UInt8])
    /// What a field of the request says, if it says something.
    case header(HeaderKey)
    /// What the path becomes by a substitution.
    case path(RegexSubstitution)
    /// The name of the host that is chosen.
    case upstream

    func apply(to block: HeaderBlock, appendsForwardedHost: Bool, keepsOriginal: Bool) {
        func set(_ host: UnsafeRawBufferPointer) {
            Self.set(host, on: block, appendsForwardedHost: appendsForwardedHost, keepsOriginal: keepsOriginal)
        }
        switch self {
        case .literal(let host):
            host.withUnsafeBytes { set($0) }
        case .header(let key):
            guard let host = block.value(key), !host.isEmpty else { return }
            set(host)
        case .path(let substitution):
            let path = block.pathWithoutQuery
            var isReplaced = false
            substitution.regex.replacing(path, with: substitution.replacement) { host in
                isReplaced = true
                if !host.isEmpty { set(host) }
            }
            if !isReplaced { set(path) }
        case .upstream: break
        }
    }

    private static let originalHost = HeaderKey("x-envoy-original-host")

    /// The old host is appended to `x-forwarded-host`, unless it stands last there already.
    static func set(
        _ host: UnsafeRawBufferPointer, on block: HeaderBlock, appendsForwardedHost: Bool, keepsOriginal: Bool
    ) {
        let old = block.authority
        if keepsOriginal { block.set(originalHost, old) }
        if appendsForwardedHost, !old.isEmpty {
            if let index = block.find(.xForwardedHost) {
                let value = block.value(block.fields[index])
                let last = value.split(separator: UInt8(ascii: ",")).last?.trimmed
                if last.map({ $0.elementsEqual(old) }) != true {
                    block.appendValue(at: index, ",", old)
                }
            } else {
                block.add(.xForwardedHost, old)
            }
        }
        block.setAuthority(host)
    }
}

extension HeaderBlock {
    /// Lengthens a field's value.
    func appendValue(at index: Int, _ separator: StaticString, _ more: UnsafeRawBufferPointer) {
        let old = value(fields[index])
        withUnsafeTemporaryAllocation(byteCount: old.count + separator.utf8CodeUnitCount + more.count, alignment: 1) {
            joined in
            joined.copyMemory(from: old)
            UnsafeMutableRawBufferPointer(rebasing: joined[old.count...]).copyMemory(from: separator.bytes)
            let start = old.count + separator.utf8CodeUnitCount
            UnsafeMutableRawBufferPointer(rebasing: joined[start...]).copyMemory(from: more)
            replace(index, UnsafeRawBufferPointer(joined))
        }
    }
}
