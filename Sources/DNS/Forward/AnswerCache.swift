import Bytes
import DNSMessage
import Reactor

/// The `cache` plugin's options: seconds and entries.
public struct CacheOptions: Sendable {
    public var positiveTTL: UInt32 = 3600
    public var negativeTTL: UInt32 = 1800
    public var positiveCapacity = 9984
    public var negativeCapacity = 9984

    init(_ reader: DirectiveReader) throws(CorefileError) {
        if let text = reader.directive.arguments.first, let ttl = UInt32(text) {
            positiveTTL = min(positiveTTL, ttl)
            negativeTTL = min(negativeTTL, ttl)
        }
        for property in reader.properties {
            let arguments = property.directive.arguments
            switch property.directive.name {
            case "success", "denial":
                let isPositive = property.directive.name == "success"
                if let capacity = arguments.first.flatMap({ Int($0) }) {
                    if isPositive { positiveCapacity = max(16, capacity) } else { negativeCapacity = max(16, capacity) }
                }
                if arguments.count > 1, let ttl = UInt32(arguments[1]) {
                    if isPositive { positiveTTL = ttl } else { negativeTTL = ttl }
                }
            // Names of the cluster are never cached: they are always current.
            case "disable": break
            default: throw property.unknown()
            }
        }
    }
}

/// Upstreams' answers, kept as they came and aged when given out. One a loop; not shared.
struct AnswerCache {
    private struct Key: Hashable {
        var name: [UInt8]
        var type: UInt16
        var isExtended: Bool
        var wantsDNSSEC: Bool
        var isCheckingDisabled: Bool
    }

    private struct Entry {
        var message: [UInt8]
        var ttlOffsets: [Int]
        var storedAt: MonotonicTime
        var ttl: UInt32
    }

    private let options: CacheOptions
    private var positive: [Key: Entry] = [:]
    private var negative: [Key: Entry] = [:]
    private(set) var hits = 0
    private(set) var misses = 0
    private(set) var evictions = 0

    /// Failures of upstreams are kept this long, in seconds.
    static let failureTTL: UInt32 = 5
    /// Bytes of a message that is kept at most.
    static let messageLimit = 4096

    init(_ options: CacheOptions) { self.options = options }

    var count: (positive: Int, negative: Int) { (positive.count, negative.count) }

    /// The answer to `query` with its id, question and ages set right; nil when there is none that still holds.
    mutating func find(_ query: DNSQuery, _ message: UnsafeRawBufferPointer, now: MonotonicTime) -> [UInt8]? {
        let key = Self.key(query, message)
        guard let entry = positive[key] ?? negative[key] else {
            misses += 1
            return nil
        }
        let age = UInt32(clamping: now.duration(since: entry.storedAt).components.seconds)
        guard age < entry.ttl else {
            positive[key] = nil
            negative[key] = nil
            misses += 1
            return nil
        }
        hits += 1
        var answer = entry.message
        for offset in entry.ttlOffsets {
            let left =
                UInt32(answer[offset]) << 24 | UInt32(answer[offset + 1]) << 16 | UInt32(answer[offset + 2]) << 8
                | UInt32(answer[offset + 3])
            let aged = min(left, entry.ttl) &- min(age, min(left, entry.ttl))
            for i in 0..<4 { answer[offset + i] = UInt8(truncatingIfNeeded: aged >> UInt32(24 - 8 * i)) }
        }
        adopt(&answer, query, message)
        return answer
    }

    mutating func store(_ query: DNSQuery, _ message: UnsafeRawBufferPointer, answer: [UInt8], now: MonotonicTime) {
        guard answer.count <= Self.messageLimit, let response = answer.withUnsafeBytes({ DNSResponse($0) }),
            !response.isTruncated, response.nameLength == query.nameLength
        else { return }
        let key = Self.key(query, message)
        var entry = Entry(message: answer, ttlOffsets: response.ttlOffsets, storedAt: now, ttl: 0)
        if response.code == .noError, response.answerCount > 0 {
            entry.ttl = min(options.positiveTTL, response.leastTTL ?? 0)
            Self.insert(&evictions, &positive, key, entry, options.positiveCapacity)
        } else if response.code == .noError || response.code == .nameError {
            // Without an SOA nobody said for how long (RFC 2308 §5).
            guard let ttl = response.negativeTTL else { return }
            entry.ttl = min(options.negativeTTL, ttl)
            Self.insert(&evictions, &negative, key, entry, options.negativeCapacity)
        } else if response.code == .serverFailure {
            entry.ttl = Self.failureTTL
            Self.insert(&evictions, &negative, key, entry, options.negativeCapacity)
        }
    }

    private static func insert(
        _ evictions: inout Int, _ table: inout [Key: Entry], _ key: Key, _ entry: Entry, _ capacity: Int
    ) {
        guard entry.ttl > 0 else { return }
        if table[key] == nil, table.count >= capacity, let victim = table.keys.randomElement() {
            table[victim] = nil
            evictions += 1
        }
        table[key] = entry
    }

    private static func key(_ query: DNSQuery, _ message: UnsafeRawBufferPointer) -> Key {
        Key(
            name: message[DNSQuery.headerSize..<(DNSQuery.headerSize + query.nameLength)].map(lowercased),
            type: query.type.rawValue, isExtended: query.extended != nil,
            wantsDNSSEC: query.extended?.wantsDNSSEC ?? false, isCheckingDisabled: query.isCheckingDisabled)
    }
}

/// Makes somebody else's answer the answer to `query`: its id, its RD flag, and its question with the case it was asked in.
func adopt(_ answer: inout [UInt8], _ query: DNSQuery, _ message: UnsafeRawBufferPointer) {
    guard answer.count >= query.questionEnd else { return }
    answer[0] = UInt8(query.id >> 8)
    answer[1] = UInt8(truncatingIfNeeded: query.id)
    answer[2] = answer[2] & 0xFE | (query.isRecursionDesired ? 1 : 0)
    for i in DNSQuery.headerSize..<(DNSQuery.headerSize + query.nameLength) { answer[i] = message[i] }
}
