/// What was wrong with a message on the wire, and how a server answers it.
public struct HTTP1Violation: Error, Hashable, Sendable, CustomStringConvertible {
    /// What kind of violation it is, for those who count or log kinds.
    public enum Kind: UInt8, Hashable, Sendable {
        case malformed, control, tooLong, tooManyFields, version, authority, scheme, transferCoding, lengthAndCoding
        case noHost, expectation
    }

    public var kind: Kind
    /// The status a server answers before it closes.
    public var status: Int
    /// What the peer did, e.g. "header line without a colon".
    public var description: String

    init(_ description: String, status: Int = 400, _ kind: Kind = .malformed) {
        self.kind = kind
        self.status = status
        self.description = description
    }
}

/// Reads the head of one HTTP/1 message from the front of a buffer. Strict: whatever two parsers could read in two ways is
/// refused (RFC 9112 §2.2, §5, §6; the usual request-smuggling lists).
///
/// Keep one per connection. It remembers only how much of an incomplete head it has seen, so that a peer that sends byte by
/// byte costs no more than one that sends all at once.
public struct HTTP1Parser: Sendable {
    public enum Role: Hashable, Sendable { case request, response }

    let role: Role
    let maximumHeadBytes: Int
    package var leniency: HTTP1Leniency = []
    /// Bytes looked at for the end of the head without finding it.
    private var searched = 0
    /// Length of the last incomplete head that was parsed for errors; the next is tried at twice that.
    private var tried = 0

    public init(_ role: Role, limits: HTTPLimits = .standard) {
        self.role = role
        maximumHeadBytes = limits.headerBytes
    }

    /// Parses the head that `input` begins with.
    ///
    /// - Parameter answering: for a response, the method of its request, which decides whether a body follows.
    /// - Returns: the head's length in bytes, or nil if it is not complete yet: call again with more bytes behind the same ones.
    public mutating func parse(
        _ input: UnsafeRawBufferPointer, into head: MessageHead, answering: HTTPMethod = .get
    ) throws(HTTP1Violation) -> Int? {
        if searched > 0, input.count < tried &* 2, !foundEnd(input) {
            guard input.count <= maximumHeadBytes else { throw Self.tooLong(maximumHeadBytes) }
            return nil
        }
        let window =
            input.count > maximumHeadBytes ? UnsafeRawBufferPointer(rebasing: input[..<maximumHeadBytes]) : input
        guard let base = window.baseAddress else { return nil }
        var line = HeadLines(base: base.assumingMemoryBound(to: UInt8.self), count: window.count)
        head.reset(window)
        guard try line.parse(role, into: head, answering: answering, leniency) else {
            guard input.count <= maximumHeadBytes else { throw Self.tooLong(maximumHeadBytes) }
            searched = max(1, input.count)
            tried = input.count
            return nil
        }
        searched = 0
        tried = 0
        return line.at
    }

    /// Whether an empty line has arrived behind what was searched before.
    private mutating func foundEnd(_ input: UnsafeRawBufferPointer) -> Bool {
        var at = max(0, searched - 3)
        searched = input.count
        while at &+ 1 < input.count {
            if input[at] == 10, input[at &+ 1] == 10 || input[at &+ 1] == 13 { return true }
            at &+= 1
        }
        return false
    }

    private static func tooLong(_ limit: Int) -> HTTP1Violation {
        HTTP1Violation("header block longer than \(limit) bytes", status: 431, .tooLong)
    }

    /// Reads the field lines that follow a chunked body, up to and with the empty line. Framing fields are refused there.
    ///
    /// - Returns: their length, or nil if more bytes are needed.
    public func parseTrailers(
        _ input: UnsafeRawBufferPointer, into head: MessageHead
    ) throws(HTTP1Violation) -> Int? {
        let window =
            input.count > maximumHeadBytes ? UnsafeRawBufferPointer(rebasing: input[..<maximumHeadBytes]) : input
        guard let base = window.baseAddress else { return nil }
        var line = HeadLines(base: base.assumingMemoryBound(to: UInt8.self), count: window.count)
        head.reset(window)
        while let more = try line.field(into: head) {
            guard more else {
                for field in head.fields {
                    switch field.name {
                    case .contentLength, .transferEncoding, .host, .trailer, .connection, .upgrade, .te, .expect:
                        throw HTTP1Violation("a framing field among the trailers")
                    default: continue
                    }
                }
                return line.at
            }
        }
        guard input.count <= maximumHeadBytes else { throw Self.tooLong(maximumHeadBytes) }
        return nil
    }
}

/// The cursor that walks over a head. A struct on the stack: the parse allocates nothing.
private struct HeadLines {
    let base: UnsafePointer<UInt8>
    let count: Int
    var at = 0
    private let classes = CharacterClasses.shared.table
    private let names = HeaderNameTable.shared

    init(base: UnsafePointer<UInt8>, count: Int) {
        self.base = base
        self.count = count
    }

    /// Parses everything; false if the bytes end before the head does.
    mutating func parse(
        _ role: HTTP1Parser.Role, into head: MessageHead, answering: HTTPMethod, _ leniency: HTTP1Leniency
    ) throws(HTTP1Violation) -> Bool {
        let started = role == .request ? try requestLine(into: head, leniency) : try statusLine(into: head)
        guard started else { return false }
        while let more = try field(into: head) {
            if !more {
                switch role {
                case .request: try RequestRules.apply(to: head, leniency)
                case .response: try ResponseRules.apply(to: head, answering: answering)
                }
                return true
            }
        }
        return false
    }

    /// `GET /path HTTP/1.1`. One empty line before it is skipped (RFC 9112 §2.2).
    private mutating func requestLine(
        into head: MessageHead, _ leniency: HTTP1Leniency
    ) throws(HTTP1Violation) -> Bool {
        if count > 0, base[0] == 13 {
            guard count > 1 else { return false }
            guard base[1] == 10 else { throw HTTP1Violation("bare CR before the request line") }
            at = 2
        }
        let start = at
        at = skip(CharacterClasses.token, from: at)
        guard at &- start <= 32 else { throw HTTP1Violation("method longer than 32 bytes", status: 501) }
        guard at < count else { return false }
        guard at > start, base[at] == 0x20 else { throw HTTP1Violation("malformed method in the request line") }
        head.methodSlice = MessageHead.Slice(offset: start, count: at &- start)
        head.method = HTTPMethod(UnsafeRawBufferPointer(start: base + start, count: at &- start))
        at &+= 1
        let target = at
        at = skip(CharacterClasses.target, from: at)
        while leniency.contains(.fragments), at < count, base[at] == UInt8(ascii: "#") {
            at = skip(CharacterClasses.target, from: at &+ 1)
        }
        guard at < count else { return false }
        guard at > target, base[at] == 0x20 else {
            // A line of HTTP/0.9 ends here.
            let kind: HTTP1Violation.Kind = base[at] == 0 ? .control : base[at] == 13 ? .version : .malformed
            throw HTTP1Violation("malformed target in the request line", kind)
        }
        head.targetSlice = MessageHead.Slice(offset: target, count: at &- target)
        at &+= 1
        guard let version = try version() else { return false }
        head.version = version
        return try endOfLine()
    }

    /// `HTTP/1.1 200 OK`; the reason and the space before it may be missing.
    private mutating func statusLine(into head: MessageHead) throws(HTTP1Violation) -> Bool {
        guard let version = try version() else { return false }
        head.version = version
        guard at &+ 4 < count else { return false }
        guard base[at] == 0x20 else { throw HTTP1Violation("malformed status line") }
        var status = 0
        for index in 1...3 {
            let digit = base[at &+ index] &- 48
            guard digit < 10 else { throw HTTP1Violation("malformed status code") }
            status = status &* 10 &+ Int(digit)
        }
        guard status >= 100 else { throw HTTP1Violation("status code \(status)") }
        head.status = status
        at &+= 4
        if base[at] == 0x20 { at = indexOfControl(base, from: at, count: count) }
        return try endOfLine()
    }

    private mutating func version() throws(HTTP1Violation) -> HTTPVersion? {
        let expected: StaticString = "HTTP/1."
        let available = min(count &- at, 7)
        for index in 0..<available where base[at &+ index] != expected.utf8Start[index] {
            // The right name with another major version deserves its own status.
            if index == 5, base[at &+ 5] &- 48 < 10 {
                throw HTTP1Violation("HTTP version not supported", status: 505, .version)
            }
            throw HTTP1Violation("no HTTP version where one belongs")
        }
        guard at &+ 7 < count else { return nil }
        let minor = base[at &+ 7]
        at &+= 8
        switch minor {
        case UInt8(ascii: "1"): return .http11
        case UInt8(ascii: "0"): return .http10
        default: throw HTTP1Violation("HTTP version not supported", status: 505, .version)
        }
    }

    /// One field line, or the empty line that ends the block.
    ///
    /// - Returns: true after a field, false after the end, nil if the bytes do not suffice.
    mutating func field(into head: MessageHead) throws(HTTP1Violation) -> Bool? {
        guard at < count else { return nil }
        let first = base[at]
        if first == 13 {
            guard try endOfLine() else { return nil }
            return false
        }
        guard first != 0x20, first != 9 else { throw HTTP1Violation("folded header line") }
        let name = at
        let nameEnd = skip(CharacterClasses.token, from: at)
        guard nameEnd < count else { return nil }
        guard base[nameEnd] == UInt8(ascii: ":") else {
            if base[nameEnd] == 10 || base[nameEnd] == 13 { throw HTTP1Violation("header line without a colon") }
            throw HTTP1Violation("invalid character in a header name", base[nameEnd] == 0 ? .control : .malformed)
        }
        guard nameEnd > name else { throw HTTP1Violation("empty header name") }
        guard nameEnd &- name <= Int(UInt16.max) else {
            throw HTTP1Violation("header name too long", status: 431, .tooLong)
        }
        var value = nameEnd &+ 1
        while value < count, base[value] == 0x20 || base[value] == 9 { value &+= 1 }
        at = indexOfControl(base, from: value, count: count)
        var valueEnd = at
        guard try endOfLine() else {
            at = name
            return nil
        }
        while valueEnd > value, base[valueEnd &- 1] == 0x20 || base[valueEnd &- 1] == 9 { valueEnd &-= 1 }
        guard head.fieldCount < head.capacity else {
            throw HTTP1Violation("more than \(head.capacity) header fields", status: 431, .tooManyFields)
        }
        head.storage[head.fieldCount] = HeaderField(
            name: names.find(UnsafeRawBufferPointer(start: base + name, count: nameEnd &- name)),
            nameOffset: UInt32(truncatingIfNeeded: name), nameLength: UInt16(truncatingIfNeeded: nameEnd &- name),
            valueOffset: UInt32(truncatingIfNeeded: value),
            valueLength: UInt32(truncatingIfNeeded: valueEnd &- value))
        head.fieldCount &+= 1
        return true
    }

    /// CR LF and nothing else; false if the bytes end first.
    @inline(__always)
    private mutating func endOfLine() throws(HTTP1Violation) -> Bool {
        guard at < count else { return false }
        guard base[at] == 13 else {
            throw base[at] == 10
                ? HTTP1Violation("line ends in a bare LF") : HTTP1Violation("control character in the header", .control)
        }
        guard at &+ 1 < count else { return false }
        guard base[at &+ 1] == 10 else { throw HTTP1Violation("bare CR") }
        at &+= 2
        return true
    }

    @inline(__always)
    private func skip(_ flag: UInt8, from start: Int) -> Int {
        var at = start
        while at < count, classes[Int(base[at])] & flag != 0 { at &+= 1 }
        return at
    }
}
