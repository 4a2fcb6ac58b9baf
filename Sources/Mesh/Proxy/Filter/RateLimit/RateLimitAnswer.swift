import HTTP
import JSON
import Protobuf
import XDS

/// What a rate limit service says of a request (`envoy.service.ratelimit.v3.RateLimitResponse`).
struct RateLimitAnswer {
    enum Code { case ok, overLimit, failed }

    struct Field {
        var key: HeaderKey
        var value: [UInt8]

        init(_ key: HeaderKey, _ value: String) {
            self.key = key
            self.value = Array(value.utf8)
        }

        func add(to block: HeaderBlock) { value.withUnsafeBytes { block.add(key, $0) } }
    }

    /// What it says of one descriptor.
    struct Status {
        var isOverLimit = false
        var hasLimit = false
        var requests: UInt64 = 0
        var unit: UInt64 = 0
        var name = ""
        var remaining: UInt64 = 0
        var secondsUntilReset: UInt64?
    }

    var code: Code
    var statuses: [Status] = []
    var responseHeaders: [Field] = []
    var requestHeaders: [Field] = []
    /// Of a refusal.
    var body: [UInt8] = []
    var metadata: JSONObject?

    init(_ code: Code) { self.code = code }

    /// The limit that will be reached first, as `x-ratelimit-*` tell of it; nil where no limit is known.
    var strictest: (limit: String, remaining: UInt64, secondsUntilReset: UInt64)? {
        let known = statuses.filter(\.hasLimit)
        guard let first = known.first else { return nil }
        let least = known.dropFirst().reduce(first) { $1.remaining < $0.remaining ? $1 : $0 }
        var limit = "\(least.requests)"
        // All of the windows, as draft-polli-ratelimit-headers-03 has them.
        for status in known {
            guard let window = status.window else { continue }
            limit += ", \(status.requests);w=\(window)"
            if !status.name.isEmpty { limit += ";name=\"\(status.name)\"" }
        }
        return (limit, least.remaining, least.secondsUntilReset ?? 0)
    }

    /// Until all limits that are reached let requests pass again; nil where that is not known.
    var secondsToRetry: UInt64? { statuses.filter(\.isOverLimit).compactMap(\.secondsUntilReset).max() }
}

extension RateLimitAnswer.Status {
    /// Seconds of the limit's unit; nil for an unknown one.
    var window: UInt64? {
        switch unit {
        case 1: 1
        case 2: 60
        case 3: 3600
        case 4: 86400
        case 5: 30 * 86400
        case 6: 365 * 86400
        case 7: 7 * 86400
        default: nil
        }
    }
}

extension RateLimitAnswer {
    private typealias Reader = ProtobufReader<ConfigError>

    /// Field numbers are those of `rls.proto`.
    init(_ bytes: UnsafeRawBufferPointer) throws(ConfigError) {
        self.init(.ok)
        var code: UInt64 = 0
        var fields = Reader(bytes)
        while let field = try fields.next() {
            switch field.number {
            case 1: code = field.scalar
            case 2: statuses.append(try Status(field.bytes))
            case 3: responseHeaders.append(try Field(field.bytes))
            case 4: requestHeaders.append(try Field(field.bytes))
            case 5: body = Array(field.bytes)
            case 6: metadata = try JSONObject(structure: field.bytes)
            default: break
            }
        }
        // Who does not know lets pass.
        self.code = code == 2 ? .overLimit : .ok
    }
}

extension RateLimitAnswer.Status {
    private typealias Reader = ProtobufReader<ConfigError>

    /// A `DescriptorStatus`.
    fileprivate init(_ bytes: UnsafeRawBufferPointer) throws(ConfigError) {
        var fields = Reader(bytes)
        while let field = try fields.next() {
            switch field.number {
            case 1: isOverLimit = field.scalar == 2
            case 2:
                hasLimit = true
                var limit = Reader(field.bytes)
                while let field = try limit.next() {
                    switch field.number {
                    case 1: requests = field.scalar
                    case 2: unit = field.scalar
                    case 3: name = String(decoding: field.bytes, as: UTF8.self)
                    default: break
                    }
                }
            case 3: remaining = field.scalar
            case 4:
                var duration = Reader(field.bytes)
                secondsUntilReset = 0
                while let field = try duration.next() {
                    if field.number == 1 { secondsUntilReset = UInt64(max(Int64(bitPattern: field.scalar), 0)) }
                }
            default: break
            }
        }
    }
}

extension RateLimitAnswer.Field {
    /// A `core.v3.HeaderValue`.
    fileprivate init(_ bytes: UnsafeRawBufferPointer) throws(ConfigError) {
        var (name, value): ([UInt8], [UInt8]) = ([], [])
        var fields = ProtobufReader<ConfigError>(bytes)
        while let field = try fields.next() {
            switch field.number {
            case 1: name = Array(field.bytes)
            case 2, 3: value = Array(field.bytes)
            default: break
            }
        }
        key = HeaderKey(String(decoding: name, as: UTF8.self))
        self.value = value
    }
}
