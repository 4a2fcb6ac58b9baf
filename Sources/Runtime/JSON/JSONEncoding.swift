extension JSONValue {
    /// Appends the compact text: members in the order of their names, no white space.
    public func write(into out: inout [UInt8]) {
        var text = TextBuffer()
        write(to: &text)
        out.append(contentsOf: text.bytes)
    }

    public func encoded() -> [UInt8] {
        var text = TextBuffer()
        write(to: &text)
        return Array(text.bytes)
    }

    public func encodedString() -> String {
        var text = TextBuffer()
        write(to: &text)
        return String(decoding: text.bytes, as: UTF8.self)
    }

    /// Text for people: two spaces a level unless it is said otherwise, a line a member.
    public func pretty(indent: Int = 2) -> String {
        var text = TextBuffer()
        writePretty(to: &text, level: 0, indent: indent)
        return String(decoding: text.bytes, as: UTF8.self)
    }

    private func write(to text: inout TextBuffer) {
        switch self {
        case .null: text.append("null")
        case .bool(true): text.append("true")
        case .bool(false): text.append("false")
        case .int(let value): text.append(value)
        case .double(let value): text.append(value)
        case .string(let value): text.append(quoted: value)
        case .array(let elements):
            text.append(UInt8(ascii: "["))
            for i in elements.indices {
                if i > 0 { text.append(UInt8(ascii: ",")) }
                elements[i].write(to: &text)
            }
            text.append(UInt8(ascii: "]"))
        case .object(let object):
            text.append(UInt8(ascii: "{"))
            for i in object.entries.indices {
                if i > 0 { text.append(UInt8(ascii: ",")) }
                text.append(quoted: object.entries[i].key)
                text.append(UInt8(ascii: ":"))
                object.entries[i].value.write(to: &text)
            }
            text.append(UInt8(ascii: "}"))
        }
    }

    private func writePretty(to text: inout TextBuffer, level: Int, indent: Int) {
        func newLine(_ level: Int, _ text: inout TextBuffer) {
            text.append(UInt8(ascii: "\n"))
            text.append(UInt8(ascii: " "), repeated: indent * level)
        }
        switch self {
        case .array(let elements) where !elements.isEmpty:
            text.append(UInt8(ascii: "["))
            for (i, element) in elements.enumerated() {
                if i > 0 { text.append(UInt8(ascii: ",")) }
                newLine(level + 1, &text)
                element.writePretty(to: &text, level: level + 1, indent: indent)
            }
            newLine(level, &text)
            text.append(UInt8(ascii: "]"))
        case .object(let object) where !object.isEmpty:
            text.append(UInt8(ascii: "{"))
            for (i, member) in object.entries.enumerated() {
                if i > 0 { text.append(UInt8(ascii: ",")) }
                newLine(level + 1, &text)
                text.append(quoted: member.key)
                text.append(": ")
                member.value.writePretty(to: &text, level: level + 1, indent: indent)
            }
            newLine(level, &text)
            text.append(UInt8(ascii: "}"))
        default: write(to: &text)
        }
    }
}
