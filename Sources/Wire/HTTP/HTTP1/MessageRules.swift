/// What a request's fields mean together: framing, persistence, authority. Every rule that smuggling relies on is here.
package enum RequestRules {
    static func apply(to head: MessageHead, _ leniency: HTTP1Leniency = []) throws(HTTP1Violation) {
        let facts = try FramingFacts(head, leniency)
        head.keepsAlive = facts.keepsAlive(head.version)
        head.wantsUpgrade = facts.upgrade && facts.connectionUpgrade && head.version == .http11
        if facts.isChunked {
            guard head.version == .http11 else { throw HTTP1Violation("Transfer-Encoding in HTTP/1.0", .version) }
            head.framing = .chunked
            if facts.length != nil { head.remove(.contentLength) }
        } else if let length = facts.length {
            head.framing = length == 0 ? .none : .length(length)
        }
        if let expectation = facts.expectation, head.version == .http11 {
            let isContinue = equalsIgnoringCase(expectation, "100-continue")
            guard isContinue || leniency.contains(.expectations) else {
                throw HTTP1Violation("unknown expectation", status: 417, .expectation)
            }
            head.expectsContinue = isContinue && head.framing != .none
        }
        try resolveTarget(head, host: facts.host, leniency)
    }

    /// RFC 9112 §3.2: origin-form, absolute-form, authority-form (CONNECT) or `*` (OPTIONS).
    private static func resolveTarget(
        _ head: MessageHead, host: MessageHead.Slice?, _ leniency: HTTP1Leniency
    ) throws(HTTP1Violation) {
        if let host {
            guard isHost(head.bytes(host)) else { throw HTTP1Violation("malformed Host", .authority) }
            head.authoritySlice = host
        } else if head.version == .http11, !leniency.contains(.missingHost) {
            throw HTTP1Violation("no Host", .noHost)
        }
        let target = head.target
        if head.method == .connect {
            guard isHost(target), target.contains(UInt8(ascii: ":")) else {
                throw HTTP1Violation("CONNECT needs host:port")
            }
            guard head.framing == .none else { throw HTTP1Violation("CONNECT with a body") }
            head.authoritySlice = head.targetSlice
            return
        }
        if target[0] == UInt8(ascii: "/") { return }
        if target.count == 1, target[0] == UInt8(ascii: "*"), head.method == .options { return }

        let scheme = absoluteSchemeLength(target)
        guard scheme > 0 else {
            // `ftp://host/` is a URL all the same, only not one of ours.
            let isURL = target.contains(UInt8(ascii: ":")) && !target.starts(with: ":".utf8)
            throw HTTP1Violation("target is neither a path nor a URL", isURL ? .scheme : .malformed)
        }
        guard !leniency.contains(.absoluteForm) else { return }
        var end = scheme
        while end < target.count, target[end] != UInt8(ascii: "/"), target[end] != UInt8(ascii: "?") { end &+= 1 }
        let authority = MessageHead.Slice(offset: head.targetSlice.offset &+ scheme, count: end &- scheme)
        guard authority.count > 0, isHost(head.bytes(authority)) else {
            throw HTTP1Violation("malformed host in the target", .authority)
        }
        // RFC 9112 §3.2.2: the target's authority wins over Host.
        head.authoritySlice = authority
        guard end < target.count, target[end] == UInt8(ascii: "/") else {
            guard end == target.count else { throw HTTP1Violation("URL without a path") }
            // `GET http://host HTTP/1.1` asks for "/": the last slash of "://" stands in for it.
            head.targetSlice = MessageHead.Slice(offset: head.targetSlice.offset &+ scheme &- 1, count: 1)
            return
        }
        head.targetSlice = MessageHead.Slice(offset: head.targetSlice.offset &+ end, count: target.count &- end)
    }

    /// The length of `http://` or `https://` in any case, else 0.
    private static func absoluteSchemeLength(_ target: UnsafeRawBufferPointer) -> Int {
        for scheme in ["http://", "https://"] as [StaticString] where target.count >= scheme.utf8CodeUnitCount {
            let start = UnsafeRawBufferPointer(rebasing: target[..<scheme.utf8CodeUnitCount])
            if equalsIgnoringCase(start, lowercased: scheme.utf8Start) { return scheme.utf8CodeUnitCount }
        }
        return 0
    }

    /// Only characters of a host with port: no user information, no path. Empty is allowed (RFC 9110 §7.2).
    package static func isHost(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let classes = CharacterClasses.shared.table
        for byte in bytes where classes[Int(byte)] & CharacterClasses.host == 0 { return false }
        return true
    }
}

/// What a response's fields mean together, given the method it answers (RFC 9112 §6.3).
enum ResponseRules {
    static func apply(to head: MessageHead, answering: HTTPMethod) throws(HTTP1Violation) {
        let facts = try FramingFacts(head)
        head.keepsAlive = facts.keepsAlive(head.version)
        head.wantsUpgrade = facts.upgrade && facts.connectionUpgrade
        let bodiless =
            answering == .head || head.status < 200 || head.status == 204 || head.status == 304
            || answering == .connect && head.status < 300
        if bodiless {
            head.framing = .none
        } else if facts.isChunked {
            head.framing = .chunked
        } else if let length = facts.length {
            head.framing = length == 0 ? .none : .length(length)
        } else {
            head.framing = .untilClose
            head.keepsAlive = false
        }
    }
}

/// The fields that decide framing and persistence, gathered in one pass.
private struct FramingFacts {
    var length: UInt64?
    var isChunked = false
    var close = false
    var keepAlive = false
    var connectionUpgrade = false
    var upgrade = false
    var host: MessageHead.Slice?
    var expectation: UnsafeRawBufferPointer?

    init(_ head: MessageHead, _ leniency: HTTP1Leniency = []) throws(HTTP1Violation) {
        for field in head.fields {
            switch field.name {
            case .contentLength:
                guard length == nil else { throw HTTP1Violation("more than one Content-Length") }
                guard let value = decimal(head.value(field)) else { throw HTTP1Violation("malformed Content-Length") }
                length = value
            case .transferEncoding:
                guard !isChunked else {
                    throw HTTP1Violation("more than one Transfer-Encoding", .transferCoding)
                }
                guard equalsIgnoringCase(head.value(field), "chunked") else {
                    throw HTTP1Violation("a transfer coding other than chunked", status: 501, .transferCoding)
                }
                isChunked = true
            case .connection:
                let value = head.value(field)
                if equalsIgnoringCase(value, "keep-alive") {
                    keepAlive = true
                } else if equalsIgnoringCase(value, "close") {
                    close = true
                } else {
                    readConnection(value)
                }
            case .upgrade: upgrade = true
            case .host:
                guard host == nil else { throw HTTP1Violation("more than one Host") }
                host = MessageHead.Slice(offset: Int(field.valueOffset), count: Int(field.valueLength))
            case .expect: expectation = head.value(field)
            default: continue
            }
        }
        guard !isChunked || length == nil || leniency.contains(.chunkedLength) else {
            throw HTTP1Violation("both Content-Length and Transfer-Encoding", .lengthAndCoding)
        }
    }

    func keepsAlive(_ version: HTTPVersion) -> Bool { !close && (version == .http11 || keepAlive) }

    private mutating func readConnection(_ list: UnsafeRawBufferPointer) {
        for item in list.split(separator: UInt8(ascii: ",")) {
            let item = trimmingBlanks(UnsafeRawBufferPointer(rebasing: item))
            if equalsIgnoringCase(item, "close") { close = true }
            if equalsIgnoringCase(item, "keep-alive") { keepAlive = true }
            if equalsIgnoringCase(item, "upgrade") { connectionUpgrade = true }
        }
    }

    /// 1 to 19 digits and nothing else: no sign, no blank, no list.
    private func decimal(_ bytes: UnsafeRawBufferPointer) -> UInt64? {
        guard (1...19).contains(bytes.count) else { return nil }
        var value: UInt64 = 0
        for byte in bytes {
            guard byte &- 48 < 10 else { return nil }
            // 19 digits stay below 10^19, which UInt64 holds.
            value = value &* 10 &+ UInt64(byte &- 48)
        }
        return value <= UInt64(Int64.max) ? value : nil
    }
}

@inlinable
package func equalsIgnoringCase(_ bytes: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
    bytes.count == text.utf8CodeUnitCount && equalsIgnoringCase(bytes, lowercased: text.utf8Start)
}
