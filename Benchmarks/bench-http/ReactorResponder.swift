import Bytes
import Glibc
import Reactor

/// The least that answers HTTP/1.1: finds the end of each request's head and sends the answer that nginx sends to
/// `return 200`, header for header. What the loop and its sockets cost, and nothing else.
final class ReactorResponder: StreamHandler, @unchecked Sendable {
    private let answer: Answer

    init(_ answer: Answer) { self.answer = answer }

    override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
        var consumed = 0
        while let end = Self.endOfHead(bytes, from: consumed) {
            consumed = end
            answer.send(on: stream)
        }
        return consumed
    }

    /// Where the body after the first empty line begins; nil when the head is not complete.
    private static func endOfHead(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
        var at = start
        while at + 4 <= bytes.count, let base = bytes.baseAddress {
            guard let found = memchr(base + at, 13, bytes.count - at - 3) else { return nil }
            at = base.distance(to: UnsafeRawPointer(found))
            // Compared as one word in memory order: CR LF CR LF.
            if bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self).littleEndian == 0x0A0D_0A0D { return at + 4 }
            at += 1
        }
        return nil
    }
}

/// One loop's answer; its date is renewed once a second.
final class Answer {
    private var bytes: [UInt8] = []
    private var validUntil = MonotonicTime(nanoseconds: 0)

    private static let head =
        "HTTP/1.1 200 OK\r\nServer: weft\r\nContent-Type: text/plain\r\nContent-Length: 13\r\nConnection: keep-alive\r\nDate: "
    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    func send(on stream: StreamSocket) {
        if stream.loop.now >= validUntil { renew(stream.loop.now) }
        bytes.withUnsafeBytes { _ = stream.write($0) }
    }

    private func renew(_ now: MonotonicTime) {
        let wall = Timestamp.now()
        let time = CalendarTime(seconds: wall.seconds)
        bytes = Array(Self.head.utf8)
        bytes.append(utf8: "\(Self.days[time.weekday]), ")
        bytes.appendDecimal(UInt64(time.day), width: 2)
        bytes.append(utf8: " \(Self.months[time.month - 1]) \(time.year) ")
        for (index, part) in [time.hour, time.minute, time.second].enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ":")) }
            bytes.appendDecimal(UInt64(part), width: 2)
        }
        bytes.append(utf8: " GMT\r\n\r\nhello, world\n")
        validUntil = now.adding(.nanoseconds(1_000_000_000 - Int64(wall.nanoseconds)))
    }
}
