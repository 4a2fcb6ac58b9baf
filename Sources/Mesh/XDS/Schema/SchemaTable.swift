import Bytes
import Glibc

/// The embedded table with the places where its messages and enums begin. The generator says what a line means.
struct SchemaTable: Sendable {
    private let text: StaticString
    /// Offsets of lines, in the order of the names on them.
    let messages: [UInt32]
    let enums: [UInt32]

    init(_ text: StaticString) {
        self.text = text
        let start = text.utf8Start
        let count = text.utf8CodeUnitCount
        var messages: [UInt32] = []
        var enums: [UInt32] = []
        messages.reserveCapacity(1024)
        enums.reserveCapacity(256)
        var at = 0
        while at < count {
            switch start[at] {
            case UInt8(ascii: "="): messages.append(UInt32(at))
            case UInt8(ascii: "#"): enums.append(UInt32(at))
            default: break
            }
            guard let end = memchr(start + at, 10, count - at) else { break }
            at = end - UnsafeMutableRawPointer(mutating: start) + 1
        }
        self.messages = messages
        self.enums = enums
    }

    func messageName(_ number: Int) -> String {
        String(decoding: line(at: messages[number]).dropFirst(), as: UTF8.self)
    }

    func messageNumber(_ name: String) -> Int? {
        var name = name
        return name.withUTF8 { wanted in
            var (low, high) = (0, messages.count)
            while low < high {
                let middle = (low + high) / 2
                let found = line(at: messages[middle]).dropFirst()
                let shared = min(found.count, wanted.count)
                var order = shared == 0 ? 0 : Int(memcmp(found.baseAddress!, wanted.baseAddress!, shared))
                if order == 0 { order = found.count - wanted.count }
                if order == 0 { return middle }
                if order < 0 { low = middle + 1 } else { high = middle }
            }
            return nil
        }
    }

    /// A message's line and all that belong to it.
    func lines(ofMessage number: Int) -> [Columns] {
        var at = Int(messages[number])
        var lines: [Columns] = []
        while at < text.utf8CodeUnitCount {
            let first = text.utf8Start[at]
            guard lines.isEmpty || (first != UInt8(ascii: "=") && first != UInt8(ascii: "#")) else { break }
            let line = line(at: UInt32(at))
            lines.append(Columns(line))
            at += line.count + 1
        }
        return lines
    }

    func line(ofEnum number: Int) -> Columns { Columns(line(at: enums[number])) }

    private func line(at offset: UInt32) -> UnsafeBufferPointer<UInt8> {
        let start = text.utf8Start + Int(offset)
        // The last line has no end of its own.
        let rest = text.utf8CodeUnitCount - Int(offset)
        let end = memchr(start, 10, rest)
        return UnsafeBufferPointer(
            start: start, count: end.map { $0 - UnsafeMutableRawPointer(mutating: start) } ?? rest)
    }

    /// The columns of a line; those at the end that are not there are empty.
    struct Columns {
        private let line: UnsafeBufferPointer<UInt8>

        init(_ line: UnsafeBufferPointer<UInt8>) { self.line = line }

        var first: UInt8 { line.first ?? 0 }

        func text(_ column: Int) -> String { String(decoding: bytes(column), as: UTF8.self) }

        func bytes(_ column: Int) -> UnsafeBufferPointer<UInt8> {
            var start = 0
            for _ in 0..<column {
                guard let tab = line[start...].firstIndex(of: 9) else {
                    return UnsafeBufferPointer(start: nil, count: 0)
                }
                start = tab + 1
            }
            let end = line[start...].firstIndex(of: 9) ?? line.count
            return UnsafeBufferPointer(rebasing: line[start..<end])
        }
    }
}

extension UnsafeBufferPointer<UInt8> {
    fileprivate func dropFirst() -> UnsafeBufferPointer<UInt8> {
        isEmpty ? self : UnsafeBufferPointer(rebasing: self[1...])
    }
}
