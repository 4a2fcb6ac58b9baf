/// Finds the body's bytes in what a connection delivers. Copies nothing.
public struct BodyDecoder: Sendable {
    public enum Event {
        /// Bytes of the body, as a range of the input.
        case data(Range<Int>)
        /// The body is complete; what follows belongs to the next message. After a chunked body `trailers` are to be
        /// read first, with `HTTP1Parser.parseTrailers`.
        case end(trailers: Bool)
        /// The input is used up.
        case needsMore
    }

    private enum State: Hashable, Sendable {
        case done
        case length(left: UInt64)
        case untilClose
        case chunkSize(value: UInt64, digits: UInt8)
        case chunkExtension(size: UInt64)
        case chunkSizeLF(size: UInt64)
        case chunkData(left: UInt64)
        case chunkDataCR
        case chunkDataLF
    }

    private var state: State
    /// Bytes of chunk extensions in this body so far: they carry nothing, so a peer that sends many is up to no good.
    private var extensionBytes = 0
    static let maximumExtensionBytes = 4096

    public init(_ framing: BodyFraming) {
        state =
            switch framing {
            case .none: .done
            case .length(let length): .length(left: length)
            case .chunked: .chunkSize(value: 0, digits: 0)
            case .untilClose: .untilClose
            }
    }

    /// The next thing in `input`. Only bytes up to `consumed` were looked at and need not be offered again.
    public mutating func next(
        _ input: UnsafeRawBufferPointer, consumed: inout Int
    ) throws(HTTP1Violation) -> Event {
        while true {
            switch state {
            case .done: return .end(trailers: false)
            case .length(let left):
                guard left > 0 else {
                    state = .done
                    return .end(trailers: false)
                }
                return take(input, left, &consumed) { .length(left: $0) }
            case .untilClose: return take(input, .max, &consumed) { _ in .untilClose }
            case .chunkData(let left):
                guard left > 0 else {
                    state = .chunkDataCR
                    continue
                }
                return take(input, left, &consumed) { .chunkData(left: $0) }
            default:
                guard consumed < input.count else { return .needsMore }
                let byte = input[consumed]
                consumed &+= 1
                if try step(byte) { return .end(trailers: true) }
            }
        }
    }

    /// The last byte of a body of known length has been handed out.
    package var isComplete: Bool { state == .length(left: 0) }

    /// Whether a closed connection is a proper end here.
    public var mayEndWithConnection: Bool { state == .untilClose || state == .done }

    private mutating func take(
        _ input: UnsafeRawBufferPointer, _ left: UInt64, _ consumed: inout Int, _ rest: (UInt64) -> State
    ) -> Event {
        let count = min(UInt64(input.count &- consumed), left)
        guard count > 0 else { return .needsMore }
        let start = consumed
        consumed &+= Int(count)
        state = rest(left &- count)
        return .data(start..<consumed)
    }

    /// One byte of the text between chunks; true after the line of the last chunk.
    private mutating func step(_ byte: UInt8) throws(HTTP1Violation) -> Bool {
        switch state {
        case .chunkSize(let value, let digits):
            if let digit = hexValue(byte) {
                // 15 hexadecimal digits stay below 2^60.
                guard digits < 15 else { throw HTTP1Violation("chunk size too large") }
                state = .chunkSize(value: value << 4 | UInt64(digit), digits: digits + 1)
            } else if digits == 0 {
                throw HTTP1Violation("chunk without a size")
            } else if byte == 13 {
                state = .chunkSizeLF(size: value)
            } else if byte == UInt8(ascii: ";") {
                state = .chunkExtension(size: value)
            } else {
                throw HTTP1Violation("malformed chunk size")
            }
        case .chunkExtension(let size):
            extensionBytes += 1
            guard extensionBytes <= Self.maximumExtensionBytes else {
                throw HTTP1Violation("chunk extensions longer than \(Self.maximumExtensionBytes) bytes")
            }
            if byte == 13 {
                state = .chunkSizeLF(size: size)
            } else if byte < 0x20 && byte != 9 || byte == 0x7f {
                throw HTTP1Violation("control character in a chunk extension")
            }
        case .chunkSizeLF(let size):
            guard byte == 10 else { throw HTTP1Violation("bare CR after a chunk size") }
            if size == 0 {
                state = .done
                return true
            }
            state = .chunkData(left: size)
        case .chunkDataCR:
            guard byte == 13 else { throw HTTP1Violation("chunk longer than its size") }
            state = .chunkDataLF
        case .chunkDataLF:
            guard byte == 10 else { throw HTTP1Violation("bare CR after a chunk") }
            state = .chunkSize(value: 0, digits: 0)
        case .done, .length, .untilClose, .chunkData: break
        }
        return false
    }
}
