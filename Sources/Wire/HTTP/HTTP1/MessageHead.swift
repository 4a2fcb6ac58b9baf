import Glibc

/// How the end of a message's body is found (RFC 9112 §6).
public enum BodyFraming: Hashable, Sendable {
    case none
    case length(UInt64)
    case chunked
    /// A response that ends with its connection.
    case untilClose
}

/// A method as a small integer; `.other` keeps its text in the head.
public enum HTTPMethod: UInt8, Hashable, Sendable {
    case other = 0
    case get, head, post, put, delete, patch, options, connect, trace

    /// Sending it twice has the effect of sending it once (RFC 9110 §9.2.2).
    public var isIdempotent: Bool { self != .post && self != .patch && self != .connect && self != .other }

    init(_ bytes: UnsafeRawBufferPointer) {
        func spells(_ text: StaticString) -> Bool {
            guard let base = bytes.baseAddress, bytes.count == text.utf8CodeUnitCount else { return false }
            return memcmp(base, text.utf8Start, bytes.count) == 0
        }
        self =
            switch bytes.first {
            case UInt8(ascii: "G"): spells("GET") ? .get : .other
            case UInt8(ascii: "H"): spells("HEAD") ? .head : .other
            case UInt8(ascii: "P"):
                spells("POST") ? .post : spells("PUT") ? .put : spells("PATCH") ? .patch : .other
            case UInt8(ascii: "D"): spells("DELETE") ? .delete : .other
            case UInt8(ascii: "O"): spells("OPTIONS") ? .options : .other
            case UInt8(ascii: "C"): spells("CONNECT") ? .connect : .other
            case UInt8(ascii: "T"): spells("TRACE") ? .trace : .other
            default: .other
            }
    }

    public init(_ name: String) {
        var name = name
        self = name.withUTF8 { HTTPMethod(UnsafeRawBufferPointer($0)) }
    }
}

/// A parsed request or status line with its header block, as slices of the buffer it was parsed from.
///
/// One is made per loop and used again for every message: everything in it is valid only until the buffer moves
/// or the next message is parsed. Copy what must stay.
public final class MessageHead {
    public struct Slice: Sendable {
        public var offset: Int
        public var count: Int

        package init(offset: Int, count: Int) { (self.offset, self.count) = (offset, count) }

        package static let empty = Slice(offset: 0, count: 0)
    }

    /// The buffer that the slices point into.
    public internal(set) var buffer = UnsafeRawBufferPointer(start: nil, count: 0)
    public internal(set) var method = HTTPMethod.other
    public internal(set) var version = HTTPVersion.http11
    /// Of a response, 100 … 999; 0 for requests.
    public internal(set) var status = 0
    package internal(set) var methodSlice = Slice.empty
    package internal(set) var targetSlice = Slice.empty
    package internal(set) var authoritySlice = Slice.empty
    package internal(set) var schemeIsHTTPS = false
    /// Of an extended CONNECT (RFC 8441 §4).
    package internal(set) var protocolSlice = Slice.empty
    public internal(set) var framing = BodyFraming.none
    /// The connection may carry another message after this one.
    public internal(set) var keepsAlive = true
    /// The client waits for `100 Continue` before it sends the body.
    public internal(set) var expectsContinue = false
    /// `Connection: upgrade` with an `Upgrade` field.
    public internal(set) var wantsUpgrade = false

    let storage: UnsafeMutablePointer<HeaderField>
    package let capacity: Int
    public internal(set) var fieldCount = 0

    /// - Parameter capacity: the most header fields that a message may have.
    public init(capacity: Int) {
        self.capacity = capacity
        storage = .allocate(capacity: capacity)
    }

    deinit { storage.deallocate() }

    func reset(_ buffer: UnsafeRawBufferPointer) {
        self.buffer = buffer
        method = .other
        version = .http11
        status = 0
        methodSlice = .empty
        targetSlice = .empty
        authoritySlice = .empty
        protocolSlice = .empty
        framing = .none
        keepsAlive = true
        expectsContinue = false
        wantsUpgrade = false
        fieldCount = 0
    }

    public var fields: UnsafeBufferPointer<HeaderField> { UnsafeBufferPointer(start: storage, count: fieldCount) }

    /// The first value under a known name.
    public func value(_ name: HeaderName) -> UnsafeRawBufferPointer? {
        for index in 0..<fieldCount where storage[index].name == name { return value(storage[index]) }
        return nil
    }

    /// Takes all fields under a name out of the head.
    func remove(_ name: HeaderName) {
        var kept = 0
        for index in 0..<fieldCount where storage[index].name != name {
            if kept != index { storage[kept] = storage[index] }
            kept &+= 1
        }
        fieldCount = kept
    }

    public func value(_ field: HeaderField) -> UnsafeRawBufferPointer {
        bytes(Slice(offset: Int(field.valueOffset), count: Int(field.valueLength)))
    }

    public func name(_ field: HeaderField) -> UnsafeRawBufferPointer {
        bytes(Slice(offset: Int(field.nameOffset), count: Int(field.nameLength)))
    }

    /// The method as sent.
    public var methodText: UnsafeRawBufferPointer { bytes(methodSlice) }
    /// Path and query; of an absolute-form target, what follows the authority; `*` and CONNECT's authority as sent.
    public var target: UnsafeRawBufferPointer { bytes(targetSlice) }
    /// From an absolute-form target, else from `Host`.
    public var authority: UnsafeRawBufferPointer { bytes(authoritySlice) }

    @inline(__always)
    func bytes(_ slice: Slice) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: buffer[slice.offset..<slice.offset &+ slice.count])
    }

    /// A copy of the header fields that outlives the buffer.
    public func copyHeaders() -> HTTPHeaders {
        guard fieldCount > 0 else { return HTTPHeaders() }
        return HTTPHeaders(copying: buffer, fields: fields)
    }
}
