import HTTP

/// What an `Accept-Encoding` field says of one encoding (RFC 9110 §12.5.3).
enum AcceptEncoding {
    enum Choice: Hashable {
        /// By its name.
        case encoding
        case wildcard
        /// The client prefers the body as it is.
        case identity
        /// Another encoding, or nothing that makes sense.
        case none
    }

    static func choice(of encoding: StaticString, in value: UnsafeRawBufferPointer) -> Choice {
        var (own, star, identity): (Double?, Double?, Double?)
        for piece in value.split(separator: UInt8(ascii: ",")) {
            let parts = piece.split(separator: UInt8(ascii: ";"))
            guard let name = parts.first.map(trimmed) else { continue }
            var quality = 1.0
            if parts.count > 1 {
                let parameter = trimmed(parts[1])
                guard let equals = parameter.firstIndex(of: UInt8(ascii: "=")),
                    equalsIgnoringCase(UnsafeRawBufferPointer(rebasing: trimmed(parameter[..<equals])), "q"),
                    let said = Double(String(decoding: trimmed(parameter[(equals + 1)...]), as: UTF8.self))
                else { continue }
                quality = said
            }
            let text = UnsafeRawBufferPointer(rebasing: name)
            if equalsIgnoringCase(text, encoding) {
                own = quality
            } else if equalsIgnoringCase(text, "identity") {
                identity = quality
            } else if text.count == 1, text[0] == UInt8(ascii: "*") {
                star = quality
            }
        }
        if let own {
            guard own > 0 else { return .none }
            return own >= identity ?? 0 ? .encoding : .identity
        }
        if let star, star > 0, star >= identity ?? 0 { return .wildcard }
        return identity ?? 0 > 0 ? .identity : .none
    }

    private static func trimmed(_ text: Slice<UnsafeRawBufferPointer>) -> Slice<UnsafeRawBufferPointer> {
        let isSpace: (UInt8) -> Bool = { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        guard let first = text.firstIndex(where: { !isSpace($0) }), let last = text.lastIndex(where: { !isSpace($0) })
        else { return text[text.startIndex..<text.startIndex] }
        return text[first...last]
    }
}

extension HeaderBlock {
    /// Whether one of a field's comma-separated values, without their parameters, is this one, in any case.
    func lists(_ token: StaticString, in name: HeaderName) -> Bool {
        for index in 0..<count where fields[index].name == name {
            for piece in value(fields[index]).split(separator: UInt8(ascii: ",")) {
                var text = piece.drop { $0 == UInt8(ascii: " ") }
                if let end = text.firstIndex(of: UInt8(ascii: ";")) { text = text[..<end] }
                while text.last == UInt8(ascii: " ") { text = text.dropLast() }
                if equalsIgnoringCase(UnsafeRawBufferPointer(rebasing: text), token) { return true }
            }
        }
        return false
    }

    /// Adds a value to a field that lists some; sets it where there is none.
    func appendToList(_ name: HeaderName, _ value: StaticString) {
        guard let index = find(name) else { return add(name, value) }
        let joined = Array(self.value(fields[index])) + Array(", ".utf8) + Array(value.bytes)
        joined.withUnsafeBytes { replace(index, $0) }
    }
}
