/// Where one header field lies in the bytes that it was parsed from.
@frozen
public struct HeaderField: Hashable, Sendable {
    public var nameOffset: UInt32
    public var valueOffset: UInt32
    public var valueLength: UInt32
    public var nameLength: UInt16
    public var name: HeaderName

    @inlinable
    public init(name: HeaderName, nameOffset: UInt32, nameLength: UInt16, valueOffset: UInt32, valueLength: UInt32) {
        self.name = name
        self.nameOffset = nameOffset
        self.nameLength = nameLength
        self.valueOffset = valueOffset
        self.valueLength = valueLength
    }
}

/// Header fields in order, names compared without case. One block of text and an index into it: two allocations
/// however many fields there are, and no `String` until one is asked for.
public struct HTTPHeaders: Sendable, Hashable, Sequence, ExpressibleByDictionaryLiteral, CustomStringConvertible {
    private var text: [UInt8]
    public private(set) var fields: [HeaderField]

    public init() {
        text = []
        fields = []
    }

    public init(_ pairs: some Sequence<(String, String)>) {
        self.init()
        for (name, value) in pairs { add(name, value) }
    }

    public init(dictionaryLiteral elements: (String, String)...) { self.init(elements) }

    /// Copies a parsed block: `fields` index into `block`.
    init(copying block: UnsafeRawBufferPointer, fields: UnsafeBufferPointer<HeaderField>) {
        text = [UInt8](block)
        self.fields = [HeaderField](fields)
    }

    public var count: Int { fields.count }
    public var isEmpty: Bool { fields.isEmpty }

    /// The first value under this name. Setting replaces all of them, or removes them with nil.
    public subscript(name: String) -> String? {
        get { first(name).map { value($0) } }
        set {
            remove(name)
            if let newValue { add(name, newValue) }
        }
    }

    /// The first value under this name.
    public subscript(name: HeaderName) -> String? {
        for field in fields where field.name == name { return value(field) }
        return nil
    }

    /// Every value under this name, in order.
    public func values(_ name: String) -> [String] {
        let known = HeaderName(name)
        return fields.filter { matches($0, known, name) }.map { value($0) }
    }

    public func contains(_ name: HeaderName) -> Bool { fields.contains { $0.name == name } }

    /// Whether a comma-separated list under this name holds `token`, in any case (`Connection: close, upgrade`).
    public func contains(token: String, in name: HeaderName) -> Bool {
        let token = [UInt8](token.utf8)
        return text.withUnsafeBytes { text in
            for field in fields where field.name == name {
                let list = UnsafeRawBufferPointer(rebasing: text[range(field.valueOffset, field.valueLength)])
                if listContains(list, token) { return true }
            }
            return false
        }
    }

    /// Appends a field. Control characters in the value, which would end the field on the wire, become spaces; a name
    /// that is not a token is a mistake of ours and traps.
    public mutating func add(_ name: String, _ value: String) {
        var name = name
        name.withUTF8 { bytes in
            precondition(!bytes.isEmpty && bytes.allSatisfy { isTokenCharacter($0) }, "not a header name")
            precondition(bytes.count <= Int(UInt16.max), "a header name is too long")
            append(UnsafeRawBufferPointer(bytes), HeaderName(UnsafeRawBufferPointer(bytes)), value)
        }
    }

    /// Appends a field with a known name, in lower case.
    public mutating func add(_ name: HeaderName, _ value: String) {
        let text = name.text
        append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount), name, value)
    }

    private mutating func append(_ nameBytes: UnsafeRawBufferPointer, _ name: HeaderName, _ value: String) {
        let nameOffset = UInt32(text.count)
        text.append(contentsOf: nameBytes)
        let valueOffset = UInt32(text.count)
        for byte in value.utf8 { text.append(byte < 0x20 && byte != 9 || byte == 0x7f ? 0x20 : byte) }
        fields.append(
            HeaderField(
                name: name, nameOffset: nameOffset, nameLength: UInt16(nameBytes.count), valueOffset: valueOffset,
                valueLength: UInt32(text.count) - valueOffset))
    }

    /// Appends a field from the wire, already checked.
    mutating func append(name: UnsafeRawBufferPointer, _ known: HeaderName, value: UnsafeRawBufferPointer) {
        let nameOffset = UInt32(text.count)
        text.append(contentsOf: name)
        let valueOffset = UInt32(text.count)
        text.append(contentsOf: value)
        fields.append(
            HeaderField(
                name: known, nameOffset: nameOffset, nameLength: UInt16(name.count), valueOffset: valueOffset,
                valueLength: UInt32(value.count)))
    }

    /// Removes every field under this name. Their text stays until the value is gone.
    public mutating func remove(_ name: String) {
        let known = HeaderName(name)
        guard fields.contains(where: { matches($0, known, name) }) else { return }
        fields = fields.filter { !matches($0, known, name) }
    }

    public mutating func append(_ others: HTTPHeaders) {
        for field in others.fields { add(others.nameText(field), others.value(field)) }
    }

    /// Shows the block of text that `fields` index into.
    public func withText<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try text.withUnsafeBytes(body)
    }

    public func value(_ field: HeaderField) -> String {
        String(decoding: text[range(field.valueOffset, field.valueLength)], as: UTF8.self)
    }

    public func nameText(_ field: HeaderField) -> String {
        String(decoding: text[range(field.nameOffset, UInt32(field.nameLength))], as: UTF8.self)
    }

    public func makeIterator() -> AnyIterator<(name: String, value: String)> {
        var index = 0
        return AnyIterator {
            guard index < fields.count else { return nil }
            defer { index += 1 }
            return (nameText(fields[index]), value(fields[index]))
        }
    }

    public var description: String { map { "\($0.name): \($0.value)" }.joined(separator: "\n") }

    public static func == (a: HTTPHeaders, b: HTTPHeaders) -> Bool {
        a.count == b.count
            && zip(a, b).allSatisfy { $0.name.lowercased() == $1.name.lowercased() && $0.value == $1.value }
    }

    public func hash(into hasher: inout Hasher) {
        for (name, value) in self {
            hasher.combine(name.lowercased())
            hasher.combine(value)
        }
    }

    private func first(_ name: String) -> HeaderField? {
        let known = HeaderName(name)
        return fields.first { matches($0, known, name) }
    }

    private func matches(_ field: HeaderField, _ known: HeaderName, _ name: String) -> Bool {
        guard field.name == known else { return false }
        guard known == .other else { return true }
        guard Int(field.nameLength) == name.utf8.count else { return false }
        return zip(text[range(field.nameOffset, UInt32(field.nameLength))], name.utf8)
            .allSatisfy { lowercase($0) == lowercase($1) }
    }

    private func range(_ offset: UInt32, _ length: UInt32) -> Range<Int> { Int(offset)..<Int(offset) + Int(length) }
}

/// Whether a comma-separated list holds a token, in any case and with blanks around it.
func listContains(_ list: UnsafeRawBufferPointer, _ token: [UInt8]) -> Bool {
    for item in list.split(separator: UInt8(ascii: ",")) {
        let item = trimmingBlanks(UnsafeRawBufferPointer(rebasing: item))
        if item.count == token.count, zip(item, token).allSatisfy({ lowercase($0) == lowercase($1) }) { return true }
    }
    return false
}

package func trimmingBlanks(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    var start = 0
    var end = bytes.count
    while start < end, bytes[start] == 0x20 || bytes[start] == 9 { start &+= 1 }
    while end > start, bytes[end &- 1] == 0x20 || bytes[end &- 1] == 9 { end &-= 1 }
    return UnsafeRawBufferPointer(rebasing: bytes[start..<end])
}
