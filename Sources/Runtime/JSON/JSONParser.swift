extension JSONValue {
    /// Reads one value and nothing after it but white space (RFC 8259; invalid UTF-8 and lone surrogates are refused).
    ///
    /// - Parameter onDuplicateKey: told the path (`spec.ports[0].name`) of each member whose name its object already
    ///   has; the last one counts.
    public static func parse(
        _ bytes: UnsafeRawBufferPointer, limits: JSONLimits = .default, onDuplicateKey: ((String) -> Void)? = nil
    ) throws(JSONError) -> JSONValue {
        var parser = JSONParser(bytes, limits: limits, onDuplicateKey: onDuplicateKey)
        return try parser.document()
    }

    public static func parse(
        _ bytes: [UInt8], limits: JSONLimits = .default, onDuplicateKey: ((String) -> Void)? = nil
    ) throws(JSONError) -> JSONValue {
        let result = bytes.withUnsafeBytes { buffer in
            Result { () throws(JSONError) in try parse(buffer, limits: limits, onDuplicateKey: onDuplicateKey) }
        }
        return try result.get()
    }

    public static func parse(
        _ text: String, limits: JSONLimits = .default, onDuplicateKey: ((String) -> Void)? = nil
    ) throws(JSONError) -> JSONValue {
        var text = text
        let result = text.withUTF8 { buffer in
            Result { () throws(JSONError) in
                try parse(UnsafeRawBufferPointer(buffer), limits: limits, onDuplicateKey: onDuplicateKey)
            }
        }
        return try result.get()
    }
}

/// Recursive descent over a buffer that outlives it.
struct JSONParser: ~Copyable {
    private let base: UnsafePointer<UInt8>
    private let end: Int
    private var at = 0
    private let limits: JSONLimits
    private var depth = 0
    private let onDuplicateKey: ((String) -> Void)?
    /// Where in the value we are; kept only when duplicates are to be told.
    private var path: [PathStep] = []
    private var elements = ParseStack<JSONValue>()
    private var members = ParseStack<PendingMember>()

    /// A member before its object is sorted. The prefix decides nearly every comparison.
    private struct PendingMember {
        var prefix: UInt64
        var key: String
        var value: JSONValue

        func follows(_ other: PendingMember) -> Bool {
            prefix == other.prefix ? KeyOrder.compare(key, other.key) > 0 : prefix > other.prefix
        }
    }

    private enum PathStep {
        case member(String)
        case element(Int)
    }

    init(_ bytes: UnsafeRawBufferPointer, limits: JSONLimits, onDuplicateKey: ((String) -> Void)?) {
        let bound = bytes.assumingMemoryBound(to: UInt8.self)
        // An empty buffer has no address; with `end` 0 the pointer is never read.
        base = bound.baseAddress ?? UnsafePointer(bitPattern: 1)!
        end = bound.count
        self.limits = limits
        self.onDuplicateKey = onDuplicateKey
    }

    mutating func document() throws(JSONError) -> JSONValue {
        guard end <= limits.size else { throw error("text of \(end) bytes is over the limit of \(limits.size)") }
        skipSpace()
        let value = try value()
        skipSpace()
        guard at == end else { throw error("more after the value") }
        return value
    }

    private func error(_ reason: String) -> JSONError {
        var line = 1
        for i in 0..<min(at, end) where base[i] == UInt8(ascii: "\n") { line += 1 }
        return JSONError(reason: reason, offset: at, line: line)
    }

    @inline(__always) private mutating func skipSpace() {
        while at < end {
            switch base[at] {
            case 0x20, 0x0A, 0x0D, 0x09: at += 1
            default: return
            }
        }
    }

    private mutating func value() throws(JSONError) -> JSONValue {
        guard at < end else { throw error("the text ends where a value should be") }
        switch base[at] {
        case UInt8(ascii: "{"): return try object()
        case UInt8(ascii: "["): return try array()
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"):
            try word("true")
            return .bool(true)
        case UInt8(ascii: "f"):
            try word("false")
            return .bool(false)
        case UInt8(ascii: "n"):
            try word("null")
            return .null
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw error("unexpected character")
        }
    }

    private mutating func word(_ text: StaticString) throws(JSONError) {
        guard end - at >= text.utf8CodeUnitCount else { throw error("unexpected character") }
        for i in 0..<text.utf8CodeUnitCount where base[at + i] != text.utf8Start[i] {
            throw error("unexpected character")
        }
        at += text.utf8CodeUnitCount
    }

    private mutating func enter() throws(JSONError) {
        depth += 1
        guard depth <= limits.depth else { throw error("nested deeper than \(limits.depth) levels") }
        at += 1
        skipSpace()
    }

    private mutating func array() throws(JSONError) -> JSONValue {
        try enter()
        if at < end, base[at] == UInt8(ascii: "]") {
            at += 1
            depth -= 1
            return .array([])
        }
        let start = elements.count
        while true {
            if onDuplicateKey != nil { path.append(.element(elements.count - start)) }
            elements.push(try value())
            if onDuplicateKey != nil { path.removeLast() }
            skipSpace()
            guard at < end else { throw error("the text ends inside an array") }
            let byte = base[at]
            guard byte == UInt8(ascii: ",") || byte == UInt8(ascii: "]") else { throw error("expected , or ]") }
            at += 1
            if byte == UInt8(ascii: "]") { break }
            skipSpace()
        }
        depth -= 1
        let count = elements.count - start
        let source = elements.base + start
        let array = [JSONValue](unsafeUninitializedCapacity: count) { buffer, initialized in
            buffer.baseAddress?.moveInitialize(from: source, count: count)
            initialized = count
        }
        elements.dropMoved(from: start)
        return .array(array)
    }

    private mutating func object() throws(JSONError) -> JSONValue {
        try enter()
        if at < end, base[at] == UInt8(ascii: "}") {
            at += 1
            depth -= 1
            return .object(JSONObject())
        }
        let start = members.count
        var isSorted = true
        while true {
            guard at < end, base[at] == UInt8(ascii: "\"") else { throw error("expected a member's name") }
            let key = try string()
            skipSpace()
            guard at < end, base[at] == UInt8(ascii: ":") else { throw error("expected : after a member's name") }
            at += 1
            skipSpace()
            if onDuplicateKey != nil { path.append(.member(key)) }
            let member = PendingMember(
                prefix: key.utf8.withContiguousStorageIfAvailable(KeyOrder.prefix) ?? 0, key: key, value: try value())
            if onDuplicateKey != nil { path.removeLast() }
            if members.count > start, !member.follows(members.base[members.count - 1]) { isSorted = false }
            members.push(member)
            skipSpace()
            guard at < end else { throw error("the text ends inside an object") }
            let byte = base[at]
            guard byte == UInt8(ascii: ",") || byte == UInt8(ascii: "}") else { throw error("expected , or }") }
            at += 1
            if byte == UInt8(ascii: "}") { break }
            skipSpace()
        }
        depth -= 1
        return .object(JSONObject(ascending: isSorted ? takeMembers(from: start) : takeSortedMembers(from: start)))
    }

    private mutating func takeMembers(from start: Int) -> [JSONObject.Member] {
        let count = members.count - start
        let source = members.base + start
        let taken = [JSONObject.Member](unsafeUninitializedCapacity: count) { buffer, initialized in
            for i in 0..<count {
                let member = (source + i).move()
                buffer.initializeElement(at: i, to: JSONObject.Member(key: member.key, value: member.value))
            }
            initialized = count
        }
        members.dropMoved(from: start)
        return taken
    }

    /// Of members with the same name the last one stays, and its path is told.
    private mutating func takeSortedMembers(from start: Int) -> [JSONObject.Member] {
        var pending = UnsafeMutableBufferPointer(start: members.base + start, count: members.count - start)
        // Both sorts are stable, so that the last of equal names is the last one written.
        if pending.count <= Self.insertionLimit {
            Self.insertionSort(pending)
        } else {
            pending.sort { $1.follows($0) }
        }
        var sorted = takeMembers(from: start)
        var kept = 0
        for i in sorted.indices {
            if kept > 0, sorted[kept - 1].key.hasSameBytes(as: sorted[i].key) {
                if let onDuplicateKey { onDuplicateKey(pathText(of: sorted[i].key)) }
                sorted[kept - 1] = sorted[i]
            } else {
                if kept != i { sorted[kept] = sorted[i] }
                kept += 1
            }
        }
        sorted.removeLast(sorted.count - kept)
        return sorted
    }

    /// Up to here, which is nearly every object, moving members one by one is the fastest.
    private static let insertionLimit = 24

    private static func insertionSort(_ pending: UnsafeMutableBufferPointer<PendingMember>) {
        guard let base = pending.baseAddress else { return }
        for i in 1..<max(1, pending.count) where !base[i].follows(base[i - 1]) {
            let member = (base + i).move()
            var j = i
            while j > 0, base[j - 1].follows(member) {
                (base + j).moveInitialize(from: base + (j - 1), count: 1)
                j -= 1
            }
            (base + j).initialize(to: member)
        }
    }

    private func pathText(of key: String) -> String {
        var text = ""
        for step in path + [.member(key)] {
            switch step {
            case .member(let name): text += text.isEmpty ? name : ".\(name)"
            case .element(let index): text += "[\(index)]"
            }
        }
        return text
    }

    // MARK: Strings

    /// At the opening quote; ends after the closing one.
    @inline(__always) private mutating func string() throws(JSONError) -> String {
        at += 1
        let start = at
        let isASCII = skipPlain()
        guard at < end else { throw error("the text ends inside a string") }
        if base[at] == UInt8(ascii: "\"") {
            let text = try text(from: start, to: at, isASCII: isASCII)
            at += 1
            return text
        }
        if base[at] == UInt8(ascii: "\\") { return try stringWithEscapes(from: start) }
        throw error("a control character inside a string")
    }

    /// Goes on to the next quote, backslash or control character, eight bytes at a time.
    ///
    /// - Returns: whether all bytes on the way are ASCII.
    @inline(__always) private mutating func skipPlain() -> Bool {
        var seen: UInt64 = 0
        while end - at >= 8 {
            let word = UnsafeRawPointer(base + at).loadUnaligned(as: UInt64.self)
            let hits = WordScan.specials(word)
            if hits != 0 {
                let count = hits.trailingZeroBitCount >> 3
                seen |= UInt64(littleEndian: word) & ((1 << UInt64(8 * count)) &- 1)
                at += count
                return seen & WordScan.highs == 0
            }
            seen |= word
            at += 8
        }
        while at < end, !WordScan.isSpecial(base[at]) {
            seen |= UInt64(base[at])
            at += 1
        }
        return seen & WordScan.highs == 0
    }

    private func text(from start: Int, to stop: Int, isASCII: Bool) throws(JSONError) -> String {
        let bytes = UnsafeBufferPointer(start: base + start, count: stop - start)
        // Also checks that it is ASCII, but much faster than it checks UTF-8.
        if isASCII { return String(decoding: bytes, as: UTF8.self) }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw error("a string is not UTF-8") }
        return text
    }

    private mutating func stringWithEscapes(from start: Int) throws(JSONError) -> String {
        var bytes = Array(UnsafeBufferPointer(start: base + start, count: at - start))
        while at < end {
            let byte = base[at]
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: bytes, as: UTF8.self) else { throw error("a string is not UTF-8") }
                at += 1
                return text
            case UInt8(ascii: "\\"):
                at += 1
                guard at < end else { throw error("the text ends inside a string") }
                try escape(into: &bytes)
            case 0..<0x20:
                throw error("a control character inside a string")
            default:
                bytes.append(byte)
                at += 1
            }
        }
        throw error("the text ends inside a string")
    }

    /// At the character after the backslash.
    private mutating func escape(into bytes: inout [UInt8]) throws(JSONError) {
        let byte = base[at]
        at += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(byte)
        case UInt8(ascii: "b"): bytes.append(0x08)
        case UInt8(ascii: "f"): bytes.append(0x0C)
        case UInt8(ascii: "n"): bytes.append(0x0A)
        case UInt8(ascii: "r"): bytes.append(0x0D)
        case UInt8(ascii: "t"): bytes.append(0x09)
        case UInt8(ascii: "u"):
            var code = try hexQuad()
            if code & 0xFC00 == 0xD800 {
                guard end - at >= 2, base[at] == UInt8(ascii: "\\"), base[at + 1] == UInt8(ascii: "u") else {
                    throw error("a lone surrogate in a string")
                }
                at += 2
                let low = try hexQuad()
                guard low & 0xFC00 == 0xDC00 else { throw error("a lone surrogate in a string") }
                code = 0x10000 + (code & 0x3FF) << 10 + (low & 0x3FF)
            }
            guard let scalar = Unicode.Scalar(code) else { throw error("a lone surrogate in a string") }
            bytes.append(contentsOf: String(Character(scalar)).utf8)
        default: throw error("an unknown escape in a string")
        }
    }

    private mutating func hexQuad() throws(JSONError) -> UInt32 {
        guard end - at >= 4 else { throw error("the text ends inside a string") }
        var code: UInt32 = 0
        for _ in 0..<4 {
            let digit: UInt8
            switch base[at] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = base[at] - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = base[at] - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = base[at] - UInt8(ascii: "A") + 10
            default: throw error("four hexadecimal digits must follow \\u")
            }
            code = code << 4 | UInt32(digit)
            at += 1
        }
        return code
    }

    // MARK: Numbers

    private mutating func number() throws(JSONError) -> JSONValue {
        let start = at
        let isNegative = base[at] == UInt8(ascii: "-")
        if isNegative { at += 1 }
        let firstDigit = at
        var magnitude: UInt64 = 0
        var fits = true
        while let digit = digit {
            let (product, overflow) = magnitude.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt64(digit))
            if overflow || carry { fits = false }
            magnitude = sum
            at += 1
        }
        guard at > firstDigit else { throw error("a digit is missing in a number") }
        guard at == firstDigit + 1 || base[firstDigit] != UInt8(ascii: "0") else {
            throw error("a number must not begin with 0")
        }
        var isInteger = true
        if at < end, base[at] == UInt8(ascii: ".") {
            isInteger = false
            at += 1
            try digits()
        }
        if at < end, base[at] | 0x20 == UInt8(ascii: "e") {
            isInteger = false
            at += 1
            if at < end, base[at] == UInt8(ascii: "+") || base[at] == UInt8(ascii: "-") { at += 1 }
            try digits()
        }
        if isInteger, fits {
            if isNegative, magnitude <= 1 << 63 { return .int(Int64(truncatingIfNeeded: 0 &- magnitude)) }
            if !isNegative, magnitude < 1 << 63 { return .int(Int64(magnitude)) }
        }
        let text = String(decoding: UnsafeBufferPointer(start: base + start, count: at - start), as: UTF8.self)
        guard let double = Double(text), double.isFinite else { throw error("a number is too large") }
        // A whole number is an `int` however it was written, so that equal numbers are equal values.
        if !isInteger, double.magnitude <= 0x1p53, let whole = Int64(exactly: double) { return .int(whole) }
        return .double(double)
    }

    private var digit: UInt8? {
        guard at < end, base[at] >= UInt8(ascii: "0"), base[at] <= UInt8(ascii: "9") else { return nil }
        return base[at] - UInt8(ascii: "0")
    }

    private mutating func digits() throws(JSONError) {
        guard digit != nil else { throw error("a digit is missing in a number") }
        while digit != nil { at += 1 }
    }
}
