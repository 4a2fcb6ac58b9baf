import HTTP

/// What is done to a path before anything looks at it, so that nobody passes a rule by spelling a path differently.
enum PathHygiene {
    /// `%2F` and `%5C` as what they stand for, in the path before the query; false when there were none.
    static func unescapeSlashes(_ block: HeaderBlock) -> Bool {
        let path = block.path
        let bare = block.pathWithoutQuery.count
        return withUnsafeTemporaryAllocation(byteCount: path.count, alignment: 1) { out in
            var (at, used, found) = (0, 0, false)
            while at < path.count {
                if at + 2 < bare, path[at] == UInt8(ascii: "%") {
                    switch (path[at + 1], path[at + 2] | 0x20) {
                    case (UInt8(ascii: "2"), UInt8(ascii: "f")): out[used] = UInt8(ascii: "/")
                    case (UInt8(ascii: "5"), UInt8(ascii: "c")): out[used] = UInt8(ascii: "\\")
                    default:
                        out[used] = path[at]
                        at += 1
                        used += 1
                        continue
                    }
                    found = true
                    at += 3
                } else {
                    out[used] = path[at]
                    at += 1
                }
                used += 1
            }
            if found { block.setPath(UnsafeRawBufferPointer(rebasing: out[..<used])) }
            return found
        }
    }

    /// Several slashes in a row as one, in the path before the query.
    static func mergeSlashes(_ block: HeaderBlock) {
        let path = block.path
        let bare = block.pathWithoutQuery.count
        let slash = UInt8(ascii: "/")
        guard bare > 1, (1..<bare).contains(where: { path[$0] == slash && path[$0 - 1] == slash }) else { return }
        // Of nothing but slashes two stay: those before and behind what there is between them.
        let kept = path[..<bare].allSatisfy { $0 == slash } ? 1 : 0
        withUnsafeTemporaryAllocation(byteCount: path.count, alignment: 1) { out in
            var used = 0
            for at in path.indices
            where at <= kept || at >= bare || path[at] != slash || at == 0 || path[at - 1] != slash {
                out[used] = path[at]
                used += 1
            }
            block.setPath(UnsafeRawBufferPointer(rebasing: out[..<used]))
        }
    }

    /// RFC 3986 §6.2.2 as browsers have it, and with them Envoy: dot segments are resolved, `\` is a slash, what need not be
    /// escaped is not, what must be is. False for a path that contains an escaped NUL.
    static func normalize(_ block: HeaderBlock) -> Bool {
        let path = block.path
        let bare = block.pathWithoutQuery.count
        guard needsWork(path[..<bare]) else { return true }
        return withUnsafeTemporaryAllocation(byteCount: path.count * 3, alignment: 1) { out in
            var used = 0
            guard canonicalize(UnsafeRawBufferPointer(rebasing: path[..<bare]), out, &used) else { return false }
            for byte in path[bare...] {
                out[used] = byte
                used += 1
            }
            block.setPath(UnsafeRawBufferPointer(rebasing: out[..<used]))
            return true
        }
    }

    private static func needsWork(_ path: Slice<UnsafeRawBufferPointer>) -> Bool {
        path.contains { isDot($0) || $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "\\") || mustEscape($0) }
    }

    @inline(__always)
    private static func isDot(_ byte: UInt8) -> Bool { byte == UInt8(ascii: ".") }

    private static func canonicalize(
        _ path: UnsafeRawBufferPointer, _ out: UnsafeMutableRawBufferPointer, _ used: inout Int
    ) -> Bool {
        let slash = UInt8(ascii: "/")
        func put(_ byte: UInt8) {
            out[used] = byte
            used += 1
        }
        /// How long a dot is that stands here, plain or escaped; 0 for none.
        func dot(_ at: Int) -> Int {
            guard at < path.count else { return 0 }
            if isDot(path[at]) { return 1 }
            return at + 2 < path.count && path[at] == UInt8(ascii: "%") && path[at + 1] == UInt8(ascii: "2")
                && path[at + 2] | 0x20 == UInt8(ascii: "e") ? 3 : 0
        }
        func isSlash(_ at: Int) -> Bool { path[at] == slash || path[at] == UInt8(ascii: "\\") }
        /// Where a segment of dots ends that stops here, behind parameters if it has some; nil when it goes on.
        func segmentEnd(_ at: Int, isPlain: Bool) -> Int? {
            if at == path.count || isSlash(at) { return at }
            guard isPlain, path[at] == UInt8(ascii: ";") else { return nil }
            return (at..<path.count).first(where: isSlash) ?? path.count
        }
        var at = 0
        while at < path.count {
            let length = dot(at)
            if length > 0, used > 0, out[used - 1] == slash {
                let next = at + length
                if let end = segmentEnd(next, isPlain: length == 1) {
                    at = min(end + 1, path.count)
                    continue
                }
                let second = dot(next)
                if second > 0, let end = segmentEnd(next + second, isPlain: length == 1 && second == 1) {
                    // Back to the slash before the last segment.
                    if used > 1 {
                        used -= 1
                        while used > 1, out[used - 1] != slash { used -= 1 }
                    }
                    at = min(end + 1, path.count)
                    continue
                }
            }
            let byte = path[at]
            if isSlash(at) {
                put(slash)
            } else if byte == UInt8(ascii: "%") {
                if at + 2 < path.count, let high = hex(path[at + 1]), let low = hex(path[at + 2]) {
                    let value = high << 4 | low
                    if value == 0 { return false }
                    if isUnreserved(value) {
                        put(value)
                    } else {
                        for offset in 0...2 { put(path[at + offset]) }
                    }
                    at += 2
                } else {
                    put(byte)
                }
            } else if mustEscape(byte) {
                put(UInt8(ascii: "%"))
                put(digit(byte >> 4))
                put(digit(byte & 15))
            } else {
                put(byte)
            }
            at += 1
        }
        return true
    }

    private static func hex(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 48...57: byte - 48
        case 65...70: byte - 55
        case 97...102: byte - 87
        default: nil
        }
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? value + 48 : value + 55 }

    /// RFC 3986 §2.3.
    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...90, 97...122: true
        case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"): true
        default: false
        }
    }

    private static func mustEscape(_ byte: UInt8) -> Bool {
        switch byte {
        case 0...0x20, 0x7f...: true
        case UInt8(ascii: "\""), UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "`"), UInt8(ascii: "{"),
            UInt8(ascii: "}"), UInt8(ascii: "^"), UInt8(ascii: "|"):
            true
        default: false
        }
    }
}
