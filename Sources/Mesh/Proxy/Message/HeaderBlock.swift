import Glibc
import HTTP

/// The header fields of one message on its way through the proxy: one block of text and an index into it, names in lower
/// case.
///
/// Belongs to a stream, and with it to one loop; used again for the next message, so that a request allocates nothing. What
/// is removed or replaced leaves its text behind until the block is cleared.
package final class HeaderBlock {
    /// Fields that a block holds at most; a parsed head has fewer (`max_headers_count`), filters may add some.
    static let fieldLimit = 4096
    /// Text that is kept when a block is cleared; more goes back to the system.
    static let keptText = 8 << 10

    private var text: UnsafeMutableRawPointer
    private var textCount = 0
    private var textCapacity: Int
    private(set) var fields: UnsafeMutablePointer<HeaderField>
    private(set) var count = 0
    private var capacity: Int

    // What HTTP/2 calls pseudo-header fields.
    private(set) var method = HTTPMethod.other
    private(set) var methodRange = TextRange.empty
    private(set) var pathRange = TextRange.empty
    private(set) var authorityRange = TextRange.empty
    private(set) var schemeRange = TextRange.empty
    /// Of the extended CONNECT of RFC 8441.
    private(set) var protocolRange = TextRange.empty
    /// 0 for requests.
    package var status = 0
    /// How the peer spelled the names; nil where nobody is to know.
    var spelling: HeaderSpelling?

    init() {
        textCapacity = 1024
        text = .allocate(byteCount: textCapacity, alignment: 16)
        capacity = 24
        fields = .allocate(capacity: capacity)
    }

    deinit {
        text.deallocate()
        fields.deallocate()
    }

    package func clear() {
        count = 0
        textCount = 0
        method = .other
        methodRange = .empty
        pathRange = .empty
        authorityRange = .empty
        schemeRange = .empty
        protocolRange = .empty
        status = 0
        if spelling != nil { spelling = nil }
        guard textCapacity > Self.keptText else { return }
        text.deallocate()
        textCapacity = 1024
        text = .allocate(byteCount: textCapacity, alignment: 16)
    }

    // MARK: Filling

    /// Takes over a parsed HTTP/1 head of `length` bytes: its text in one copy, its index as it is.
    func load(_ head: MessageHead, length: Int) {
        clear()
        reserve(text: length)
        text.copyMemory(from: head.buffer.baseAddress!, byteCount: length)
        textCount = length
        reserve(fields: head.fieldCount)
        fields.update(from: head.fields.baseAddress!, count: head.fieldCount)
        count = head.fieldCount
        method = head.method
        methodRange = TextRange(head.methodSlice.offset, head.methodSlice.count)
        // What CONNECT names is an authority.
        if head.method != .connect || head.version == .http2 {
            pathRange = TextRange(head.targetSlice.offset, head.targetSlice.count)
        }
        authorityRange = TextRange(head.authoritySlice.offset, head.authoritySlice.count)
        status = head.status
        for index in 0..<count {
            Self.makeLowerCase(text + Int(fields[index].nameOffset), Int(fields[index].nameLength))
        }
    }

    /// Eight letters at a time, the last eight perhaps twice.
    @inline(__always)
    private static func makeLowerCase(_ name: UnsafeMutableRawPointer, _ count: Int) {
        guard count >= 8 else {
            for at in 0..<count {
                let byte = name.load(fromByteOffset: at, as: UInt8.self)
                if byte &- 65 < 26 { name.storeBytes(of: byte | 0x20, toByteOffset: at, as: UInt8.self) }
            }
            return
        }
        var at = 0
        while true {
            let word = name.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            let ones: UInt64 = 0x0101_0101_0101_0101
            let low = word & (0x7f &* ones)
            // The eighth bit of a byte that is `A` or above, and of one above `Z`.
            let isCapital = ((low &+ 0x3f &* ones) ^ (low &+ 0x25 &* ones)) & ~word & (0x80 &* ones)
            name.storeBytes(of: word | isCapital >> 2, toByteOffset: at, as: UInt64.self)
            guard at &+ 8 < count else { return }
            at = min(at &+ 8, count &- 8)
        }
    }

    /// Copies another block, for a request that goes to a second upstream.
    func load(_ other: HeaderBlock) {
        clear()
        reserve(text: other.textCount)
        text.copyMemory(from: other.text, byteCount: other.textCount)
        textCount = other.textCount
        reserve(fields: other.count)
        fields.update(from: other.fields, count: other.count)
        count = other.count
        method = other.method
        methodRange = other.methodRange
        pathRange = other.pathRange
        authorityRange = other.authorityRange
        schemeRange = other.schemeRange
        protocolRange = other.protocolRange
        status = other.status
        spelling = other.spelling
    }

    /// Takes over fields from elsewhere, as trailers are.
    func load(_ headers: HTTPHeaders) {
        clear()
        headers.withText { text in
            for field in headers.fields {
                let name = UnsafeRawBufferPointer(
                    rebasing: text[Int(field.nameOffset)..<Int(field.nameOffset) + Int(field.nameLength)])
                let value = UnsafeRawBufferPointer(
                    rebasing: text[Int(field.valueOffset)..<Int(field.valueOffset) + Int(field.valueLength)])
                add(field.name, name: name, value: value)
            }
        }
    }

    /// The protocol of an extended CONNECT, whose text `load` has copied.
    func adoptProtocol(_ head: MessageHead) {
        protocolRange = TextRange(head.protocolSlice.offset, head.protocolSlice.count)
    }

    /// The fields as a value of their own.
    func copied() -> HTTPHeaders {
        var headers = HTTPHeaders()
        for index in 0..<count {
            headers.add(
                String(decoding: name(fields[index]), as: UTF8.self),
                String(decoding: value(fields[index]), as: UTF8.self))
        }
        return headers
    }

    // MARK: Reading

    /// Valid until the next change of the block.
    @inline(__always)
    package func bytes(_ range: TextRange) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: text + Int(range.offset), count: Int(range.count))
    }

    @inline(__always)
    package func value(_ field: HeaderField) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: text + Int(field.valueOffset), count: Int(field.valueLength))
    }

    @inline(__always)
    package func name(_ field: HeaderField) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: text + Int(field.nameOffset), count: Int(field.nameLength))
    }

    package var methodText: UnsafeRawBufferPointer { bytes(methodRange) }
    package var path: UnsafeRawBufferPointer { bytes(pathRange) }
    package var authority: UnsafeRawBufferPointer { bytes(authorityRange) }
    package var scheme: UnsafeRawBufferPointer { bytes(schemeRange) }

    /// The path without its query.
    package var pathWithoutQuery: UnsafeRawBufferPointer {
        let path = path
        guard let end = path.firstIndex(of: UInt8(ascii: "?")) else { return path }
        return UnsafeRawBufferPointer(rebasing: path[..<end])
    }

    /// The bytes of all names and values, pseudo-header fields among them.
    var wireSize: Int {
        var size = status > 0 ? ":status".utf8.count &+ 3 : 0
        func add(_ name: StaticString, _ range: TextRange) {
            if !range.isEmpty { size &+= name.utf8CodeUnitCount &+ Int(range.count) }
        }
        add(":method", methodRange)
        add(":path", pathRange)
        add(":authority", authorityRange)
        add(":scheme", schemeRange)
        add(":protocol", protocolRange)
        for index in 0..<count { size &+= Int(fields[index].nameLength) &+ Int(fields[index].valueLength) }
        return size
    }

    /// Shows the first value of a query parameter as it stands in the path; nil when there is none.
    func withQueryParameter<R>(_ name: [UInt8], _ body: (UnsafeRawBufferPointer?) -> R) -> R {
        let path = path
        guard let mark = path.firstIndex(of: UInt8(ascii: "?")) else { return body(nil) }
        var start = mark + 1
        while start < path.count {
            let end = path[start...].firstIndex { $0 == UInt8(ascii: "&") || $0 == UInt8(ascii: "#") } ?? path.count
            let piece = UnsafeRawBufferPointer(rebasing: path[start..<end])
            let middle = piece.firstIndex(of: UInt8(ascii: "=")) ?? piece.count
            if piece[..<middle].elementsEqual(name) {
                return body(UnsafeRawBufferPointer(rebasing: piece[min(middle + 1, piece.count)...]))
            }
            start = end + 1
        }
        return body(nil)
    }

    /// Whether there is a field `x-envoy-…`: what few requests have, and what a router looks through its list of such names for.
    var hasEnvoyFields: Bool {
        let prefix = UInt64(bigEndian: 0x782d_656e_766f_792d)
        for index in 0..<count where fields[index].nameLength > 8 {
            let start = text.loadUnaligned(fromByteOffset: Int(fields[index].nameOffset), as: UInt64.self)
            if start == prefix { return true }
        }
        return false
    }

    /// The index of the first field under a known name.
    @inline(__always)
    package func find(_ name: HeaderName) -> Int? {
        for index in 0..<count where fields[index].name == name { return index }
        return nil
    }

    @inline(__always)
    package func find(_ key: HeaderKey, from start: Int = 0) -> Int? {
        var index = start
        while index < count {
            if fields[index].name == key.name, key.matches(fields[index].name, name(fields[index])) { return index }
            index &+= 1
        }
        return nil
    }

    package func has(_ name: HeaderName) -> Bool { find(name) != nil }

    /// The first value under a known name.
    @inline(__always)
    package func value(_ name: HeaderName) -> UnsafeRawBufferPointer? { find(name).map { value(fields[$0]) } }

    /// The first value under a name; also of the pseudo-header fields.
    package func value(_ key: HeaderKey) -> UnsafeRawBufferPointer? {
        if key.isPseudo { return pseudo(key) }
        return find(key).map { value(fields[$0]) }
    }

    private func pseudo(_ key: HeaderKey) -> UnsafeRawBufferPointer? {
        let range: TextRange =
            switch key.text.count {
            case 5: pathRange
            case 7: key.text[1] == UInt8(ascii: "m") ? methodRange : status == 0 ? schemeRange : .empty
            case 9: protocolRange
            case 10: authorityRange
            default: .empty
            }
        return range.isEmpty ? nil : bytes(range)
    }

    // MARK: Changing

    /// HTTP/2 may send cookies one by one; everybody else wants them in one field (RFC 9113 §8.2.3).
    func joinCookies() { join(.cookie, by: "; ") }

    /// Makes one field of all that have a name.
    func join(_ name: HeaderName, by separator: StaticString) {
        guard let first = find(name) else { return }
        while let next = (first + 1..<count).first(where: { fields[$0].name == name }) {
            appendValue(at: first, separator, value(fields[next]))
            remove(at: next)
        }
    }

    package func setPath(_ bytes: UnsafeRawBufferPointer) { pathRange = append(bytes) }
    package func setAuthority(_ bytes: UnsafeRawBufferPointer) { authorityRange = append(bytes) }
    package func setScheme(_ bytes: UnsafeRawBufferPointer) { schemeRange = append(bytes) }
    package func setScheme(_ text: StaticString) { schemeRange = append(text.bytes) }
    package func setProtocol(_ bytes: UnsafeRawBufferPointer) { protocolRange = append(bytes) }

    package func setMethod(_ method: HTTPMethod, _ text: UnsafeRawBufferPointer) {
        self.method = method
        methodRange = append(text)
    }

    package func add(_ name: HeaderName, _ value: UnsafeRawBufferPointer) {
        insert(name, name.text.bytes, value)
    }

    package func add(_ name: HeaderName, _ value: StaticString) { insert(name, name.text.bytes, value.bytes) }

    package func add(_ key: HeaderKey, _ value: UnsafeRawBufferPointer) {
        key.text.withUnsafeBytes { insert(key.name, $0, value) }
    }

    /// Appends a field from the wire: `name` in lower case, both checked.
    package func add(_ known: HeaderName, name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        insert(known, name, value)
    }

    /// Makes this the only field under its name.
    package func set(_ name: HeaderName, _ value: UnsafeRawBufferPointer) {
        guard let first = find(name) else { return add(name, value) }
        replace(first, value)
        removeAll(after: first) { $0.name == name }
    }

    package func set(_ name: HeaderName, _ value: StaticString) { set(name, value.bytes) }

    package func set(_ key: HeaderKey, decimal number: Int) { withDecimal(number) { set(key, $0) } }

    package func set(_ name: HeaderName, decimal number: Int) {
        withDecimal(number) { set(name, $0) }
    }

    /// Makes this the only field under its name; pseudo-header fields as well.
    package func set(_ key: HeaderKey, _ value: UnsafeRawBufferPointer) {
        if key.isPseudo { return setPseudo(key, value) }
        guard let first = find(key) else { return add(key, value) }
        replace(first, value)
        removeAll(after: first) { key.matches($0.name, self.name($0)) }
    }

    private func setPseudo(_ key: HeaderKey, _ value: UnsafeRawBufferPointer) {
        switch key.text.count {
        case 5: setPath(value)
        case 7:
            if key.text[1] == UInt8(ascii: "m") {
                setMethod(HTTPMethod(String(decoding: value, as: UTF8.self)), value)
            } else if key.text[2] == UInt8(ascii: "c") {
                setScheme(value)
            } else {
                status = Int(String(decoding: value, as: UTF8.self)) ?? status
            }
        case 10: setAuthority(value)
        default: break
        }
    }

    /// Gives the field at `index` another value.
    package func replace(_ index: Int, _ value: UnsafeRawBufferPointer) {
        let range = append(value)
        fields[index].valueOffset = range.offset
        fields[index].valueLength = range.count
    }

    @discardableResult
    package func remove(_ name: HeaderName) -> Bool { removeAll(after: -1) { $0.name == name } }

    @discardableResult
    package func remove(_ key: HeaderKey) -> Bool {
        removeAll(after: -1) { key.matches($0.name, self.name($0)) }
    }

    package func remove(at index: Int) {
        (fields + index).update(from: fields + index + 1, count: count - index - 1)
        count -= 1
    }

    @discardableResult
    package func removeAll(after start: Int = -1, _ isDoomed: (HeaderField) -> Bool) -> Bool {
        var kept = start + 1
        for index in (start + 1)..<max(count, start + 1) {
            if isDoomed(fields[index]) { continue }
            if kept != index { fields[kept] = fields[index] }
            kept += 1
        }
        defer { count = kept }
        return kept != count
    }

    /// Copies text into the block.
    package func append(_ bytes: UnsafeRawBufferPointer) -> TextRange {
        guard let source = bytes.baseAddress, !bytes.isEmpty else { return .empty }
        if textCount &+ bytes.count > textCapacity {
            // The source may stand in the block itself.
            if source >= UnsafeRawPointer(text), source < UnsafeRawPointer(text + textCount) {
                let offset = source - UnsafeRawPointer(text)
                reserve(text: bytes.count)
                (text + textCount).copyMemory(from: text + offset, byteCount: bytes.count)
                defer { textCount &+= bytes.count }
                return TextRange(textCount, bytes.count)
            }
            reserve(text: bytes.count)
        }
        (text + textCount).copyMemory(from: source, byteCount: bytes.count)
        defer { textCount &+= bytes.count }
        return TextRange(textCount, bytes.count)
    }

    private func insert(_ known: HeaderName, _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        guard count < Self.fieldLimit, name.count <= Int(UInt16.max) else { return }
        reserve(fields: 1)
        let (nameRange, valueRange) = (append(name), append(value))
        fields[count] = HeaderField(
            name: known, nameOffset: nameRange.offset, nameLength: UInt16(truncatingIfNeeded: nameRange.count),
            valueOffset: valueRange.offset, valueLength: valueRange.count)
        count &+= 1
    }

    private func reserve(text more: Int) {
        guard textCount + more > textCapacity else { return }
        let larger = max(textCapacity * 2, textCount + more)
        let next = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 16)
        next.copyMemory(from: text, byteCount: textCount)
        text.deallocate()
        (text, textCapacity) = (next, larger)
    }

    private func reserve(fields more: Int) {
        guard count + more > capacity else { return }
        let larger = max(capacity * 2, count + more)
        let next = UnsafeMutablePointer<HeaderField>.allocate(capacity: larger)
        next.moveInitialize(from: fields, count: count)
        fields.deallocate()
        (fields, capacity) = (next, larger)
    }
}

extension StaticString {
    @inline(__always)
    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: utf8Start, count: utf8CodeUnitCount) }
}

/// The decimal text of a number, on the stack.
@inline(__always)
func withDecimal<R>(_ value: Int, _ body: (UnsafeRawBufferPointer) -> R) -> R {
    withUnsafeTemporaryAllocation(byteCount: 20, alignment: 1) { digits in
        var at = 20
        var rest = value.magnitude
        repeat {
            at &-= 1
            digits[at] = UInt8(truncatingIfNeeded: rest % 10) &+ 48
            rest /= 10
        } while rest > 0
        if value < 0 {
            at &-= 1
            digits[at] = UInt8(ascii: "-")
        }
        return body(UnsafeRawBufferPointer(rebasing: digits[at...]))
    }
}
