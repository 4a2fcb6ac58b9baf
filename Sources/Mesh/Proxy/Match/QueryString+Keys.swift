/// What goes in and out by the query of a path.
extension QueryString {
    /// The first value of a parameter with its escapes undone; nil when it is not there.
    static func decodedValue(of name: [UInt8], in path: UnsafeRawBufferPointer) -> [UInt8]? {
        guard let value = value(of: name, in: path) else { return nil }
        var decoded: [UInt8] = []
        var index = 0
        while index < value.count {
            if value[index] == UInt8(ascii: "%"), index + 2 < value.count, let high = digit(value[index + 1]),
                let low = digit(value[index + 2])
            {
                decoded.append(high << 4 | low)
                index += 3
            } else {
                decoded.append(value[index])
                index += 1
            }
        }
        return decoded
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    /// The path with all parameters of a name taken out.
    static func path(_ path: UnsafeRawBufferPointer, without name: [UInt8]) -> [UInt8] {
        guard let mark = path.firstIndex(of: UInt8(ascii: "?")) else { return Array(path) }
        let kept = path[(mark + 1)...].split(separator: UInt8(ascii: "&"), omittingEmptySubsequences: true).filter {
            !$0.prefix { $0 != UInt8(ascii: "=") }.elementsEqual(name)
        }
        guard !kept.isEmpty else { return Array(path[..<mark]) }
        return Array(path[...mark]) + Array(kept.joined(separator: [UInt8(ascii: "&")]))
    }
}

extension HeaderBlock {
    /// Takes all cookies of a name out.
    func removeCookie(_ name: [UInt8]) {
        guard cookie(name) != nil, let index = find(.cookie) else { return }
        joinCookies()
        var kept: [UInt8] = []
        for pair in value(fields[index]).split(separator: UInt8(ascii: ";")) {
            let text = pair.trimmed
            guard !text.prefix(while: { $0 != UInt8(ascii: "=") }).elementsEqual(name) else { continue }
            if !kept.isEmpty { kept += "; ".utf8 }
            kept += text
        }
        if kept.isEmpty { remove(.cookie) } else { kept.withUnsafeBytes { replace(index, $0) } }
    }
}
