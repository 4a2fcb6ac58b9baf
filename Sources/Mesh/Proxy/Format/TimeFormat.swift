import Bytes
import Glibc
import TLS

/// How a moment is written: strftime's letters, `%f` and `%1f` … `%9f` for parts of a second, `%E3S` and the like, `%s` for
/// seconds since 1970 and `%3s` and the like for smaller units. Empty is RFC 3339 with milliseconds.
struct TimeFormat: Sendable {
    private enum Piece: Sendable {
        case calendar(String)
        case fraction(Int)
        case seconds(Int)
    }
    private let pieces: [Piece]

    init(_ format: String) {
        guard !format.isEmpty else {
            pieces = [.calendar("%Y-%m-%dT%H:%M:%S."), .fraction(3), .calendar("Z")]
            return
        }
        var pieces: [Piece] = []
        var calendar = ""
        var rest = Array(format.unicodeScalars)[...]
        func special(_ piece: Piece, _ count: Int) {
            if !calendar.isEmpty { pieces.append(.calendar(calendar)) }
            calendar = ""
            pieces.append(piece)
            rest = rest.dropFirst(count)
        }
        while let first = rest.first {
            let letters = rest.prefix(4).map { $0 }
            if first == "%", letters.count > 1 {
                if letters[1] == "f" {
                    special(.fraction(9), 2)
                    continue
                }
                if let digit = Int(String(letters[1])), letters.count > 2, (1...9).contains(digit) {
                    if letters[2] == "f" {
                        special(.fraction(digit), 3)
                        continue
                    }
                    if letters[2] == "s" {
                        special(.seconds(digit), 3)
                        continue
                    }
                }
                if letters[1] == "s" {
                    special(.seconds(0), 2)
                    continue
                }
                if letters.count > 3, letters[1] == "E", letters[3] == "S", let digit = Int(String(letters[2])) {
                    calendar += "%S."
                    special(.fraction(digit), 4)
                    continue
                }
                calendar.unicodeScalars.append(contentsOf: letters.prefix(2))
                rest = rest.dropFirst(2)
                continue
            }
            calendar.unicodeScalars.append(first)
            rest = rest.dropFirst()
        }
        if !calendar.isEmpty { pieces.append(.calendar(calendar)) }
        self.pieces = pieces
    }

    func render(_ time: Timestamp, into output: inout GrowingBytes) {
        var seconds = time_t(time.seconds)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        for piece in pieces {
            switch piece {
            case .calendar(let format):
                withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { room in
                    let count = strftime(room.baseAddress!, room.count, format, &parts)
                    output.append(UnsafeRawBufferPointer(start: room.baseAddress, count: count))
                }
            case .fraction(let digits): digits3(Int(time.nanoseconds), digits, &output)
            case .seconds(let digits):
                output.append(decimal: Int(time.seconds))
                if digits > 0 { digits3(Int(time.nanoseconds), digits, &output) }
            }
        }
    }

    /// The first digits of nine.
    private func digits3(_ nanoseconds: Int, _ digits: Int, _ output: inout GrowingBytes) {
        var scale = 100_000_000
        for _ in 0..<min(digits, 9) {
            output.append(UInt8(nanoseconds / scale % 10) + 48)
            scale /= 10
        }
    }
}
