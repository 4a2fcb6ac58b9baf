import HTTP

/// How an HTTP/1 message spelled the names of its fields (`preserve_case`), for peers that tell `Content-Type` from
/// `content-type`. Within the proxy names are in lower case; a message has one of these only where configuration asks for it.
final class HeaderSpelling {
    struct Options: Sendable, Equatable {
        /// The status line keeps its own words.
        var forwardsReason = false
        /// Names that did not come with the message, as `X-Envoy-…`, are written as `Content-Type`.
        var writesProperCase = false
    }

    let options: Options
    /// Of a response; empty where none is to be forwarded.
    let reason: [UInt8]
    private var text: [UInt8] = []
    /// The names in `text`, one behind the other.
    private var lengths: [Int] = []

    /// - Parameter head: as it was parsed, while its buffer is there.
    init(_ head: MessageHead, _ options: Options) {
        self.options = options
        reason = options.forwardsReason && head.status > 0 ? Self.reason(of: head.buffer) : []
        lengths.reserveCapacity(head.fieldCount)
        for field in head.fields {
            let name = head.name(field)
            text += name
            lengths.append(name.count)
        }
    }

    /// What stands behind the status in a status line.
    private static func reason(of head: UnsafeRawBufferPointer) -> [UInt8] {
        let line = head.drop { $0 == UInt8(ascii: "\r") || $0 == UInt8(ascii: "\n") }
            .prefix { $0 != UInt8(ascii: "\r") && $0 != UInt8(ascii: "\n") }
        return Array(line.dropFirst("HTTP/1.1 200 ".utf8.count))
    }

    /// Gives a name in lower case the letters that it came with; of several spellings the first.
    func apply(to name: UnsafeMutableRawBufferPointer) {
        var start = 0
        for length in lengths {
            if length == name.count, isName(name, at: start) {
                for index in 0..<length { name[index] = text[start + index] }
                return
            }
            start += length
        }
        if options.writesProperCase { HTTP1Writer.makeProperCase(name) }
    }

    private func isName(_ name: UnsafeMutableRawBufferPointer, at start: Int) -> Bool {
        for index in name.indices where lowercase(text[start + index]) != name[index] { return false }
        return true
    }
}

/// How HTTP/1 writes the names of fields (`header_key_format`).
enum HeaderForm: Sendable, Equatable {
    case lowerCase
    /// As `Content-Type`.
    case properCase
    /// As they came.
    case kept(HeaderSpelling.Options)

    var spelling: HeaderSpelling.Options? { if case .kept(let options) = self { options } else { nil } }
}
