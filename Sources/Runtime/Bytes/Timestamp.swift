import Glibc

/// A point in wall-clock time with nanoseconds, as the Kubernetes API and certificates write it: UTC, no leap seconds.
public struct Timestamp: Hashable, Sendable {
    /// Since 1970-01-01T00:00:00Z.
    public var seconds: Int64
    /// 0…999 999 999, counted forward from `seconds` also before 1970.
    public var nanoseconds: Int32

    public init(seconds: Int64, nanoseconds: Int32 = 0) {
        precondition((0..<1_000_000_000).contains(nanoseconds), "nanoseconds of a timestamp out of range")
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    /// The wall clock now.
    public static func now() -> Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(seconds: Int64(time.tv_sec), nanoseconds: Int32(time.tv_nsec))
    }

    public static let epoch = Timestamp(seconds: 0)

    /// The same moment cut to whole seconds: what `metav1.Time` keeps.
    public var wholeSeconds: Timestamp { Timestamp(seconds: seconds) }

    public func adding(_ duration: Duration) -> Timestamp {
        let (whole, attoseconds) = duration.components
        let nanos = Int64(nanoseconds) + attoseconds / 1_000_000_000
        let carry = nanos >= 1_000_000_000 ? Int64(1) : nanos < 0 ? -1 : 0
        return Timestamp(
            seconds: seconds &+ whole &+ carry, nanoseconds: Int32(nanos - carry * 1_000_000_000))
    }

    public func duration(since other: Timestamp) -> Duration {
        .seconds(seconds &- other.seconds) + .nanoseconds(Int64(nanoseconds) - Int64(other.nanoseconds))
    }
}

extension Timestamp: Comparable {
    public static func < (a: Self, b: Self) -> Bool {
        a.seconds == b.seconds ? a.nanoseconds < b.nanoseconds : a.seconds < b.seconds
    }
}

/// A date in the proleptic Gregorian calendar and a time of day, UTC.
public struct CalendarTime: Hashable, Sendable {
    public var year: Int64
    public var month: Int
    public var day: Int
    public var hour: Int
    public var minute: Int
    public var second: Int
    /// 0 is Sunday.
    public var weekday: Int

    /// Any `seconds` since 1970 that a year of nine digits can hold; beyond that it is clamped.
    public init(seconds: Int64) {
        let bound: Int64 = 31_556_952_000_000_000
        let clamped = min(max(seconds, -bound), bound)
        var days = clamped / 86400
        var rest = clamped % 86400
        if rest < 0 { (days, rest) = (days - 1, rest + 86400) }
        (hour, minute, second) = (Int(rest / 3600), Int(rest / 60 % 60), Int(rest % 60))
        weekday = Int(((days + 4) % 7 + 7) % 7)
        // Years start in March so that the leap day is the last; eras are 400 years of 146097 days.
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        day = Int(dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
        month = Int(shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9)
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    /// Days from 1970-01-01 to a date that the caller has checked.
    static func days(year: Int64, month: Int, day: Int) -> Int64 {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = (153 * Int64(month > 2 ? month - 3 : month + 9) + 2) / 5 + Int64(day) - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    /// How many days `month` has in `year`.
    public static func daysIn(month: Int, year: Int64) -> Int {
        switch month {
        case 4, 6, 9, 11: 30
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        default: 31
        }
    }
}

extension Timestamp: CustomStringConvertible {
    /// Whole seconds, as `metav1.Time`: `2026-01-02T03:04:05Z`.
    public var rfc3339: String { text(fraction: 0) }
    /// Six digits, as `metav1.MicroTime`: `2026-01-02T03:04:05.000006Z`.
    public var rfc3339Micro: String { text(fraction: 6) }
    /// Nine digits: container logs.
    public var rfc3339Nano: String { text(fraction: 9) }
    public var description: String { rfc3339Nano }

    private func text(fraction digits: Int) -> String {
        var out: [UInt8] = []
        out.reserveCapacity(32)
        appendRFC3339(to: &out, fraction: digits)
        return String(decoding: out, as: UTF8.self)
    }

    /// Appends the text with `digits` (0…9) of the fraction, cut, not rounded.
    public func appendRFC3339(to out: inout [UInt8], fraction digits: Int = 0) {
        let time = CalendarTime(seconds: seconds)
        out.appendDecimal(UInt64(max(time.year, 0)), width: 4)
        out.append(UInt8(ascii: "-"))
        out.appendDecimal(UInt64(time.month), width: 2)
        out.append(UInt8(ascii: "-"))
        out.appendDecimal(UInt64(time.day), width: 2)
        out.append(UInt8(ascii: "T"))
        out.appendDecimal(UInt64(time.hour), width: 2)
        out.append(UInt8(ascii: ":"))
        out.appendDecimal(UInt64(time.minute), width: 2)
        out.append(UInt8(ascii: ":"))
        out.appendDecimal(UInt64(time.second), width: 2)
        if digits > 0 {
            out.append(UInt8(ascii: "."))
            var value = UInt64(nanoseconds)
            for _ in min(digits, 9)..<9 { value /= 10 }
            out.appendDecimal(value, width: min(digits, 9))
        }
        out.append(UInt8(ascii: "Z"))
    }

    /// RFC 3339 with any offset, a fraction of any length (cut to nanoseconds) and years 0000…9999; nil otherwise.
    public init?(rfc3339 text: some StringProtocol) {
        var bytes = Array(text.utf8)[...]
        func number(_ digits: Int) -> Int? {
            guard bytes.count >= digits, let value = UInt32(decimal: bytes.prefix(digits)) else { return nil }
            bytes = bytes.dropFirst(digits)
            return Int(value)
        }
        func skip(_ allowed: String) -> Bool {
            guard let byte = bytes.first, allowed.utf8.contains(byte) else { return false }
            bytes = bytes.dropFirst()
            return true
        }
        guard let year = number(4), skip("-"), let month = number(2), skip("-"), let day = number(2), skip("Tt "),
            let hour = number(2), skip(":"), let minute = number(2), skip(":"), let second = number(2),
            (1...12).contains(month), day >= 1, day <= CalendarTime.daysIn(month: month, year: Int64(year)),
            hour < 24, minute < 60, second < 60
        else { return nil }
        var nanoseconds: Int32 = 0
        if skip(".") {
            let digits = bytes.prefix { (48...57).contains($0) }
            guard !digits.isEmpty else { return nil }
            for index in 0..<9 {
                let digit = index < digits.count ? digits[digits.startIndex + index] - 48 : 0
                nanoseconds = nanoseconds * 10 + Int32(digit)
            }
            bytes = bytes.dropFirst(digits.count)
        }
        var offset = 0
        if !skip("Zz") {
            let negative = bytes.first == UInt8(ascii: "-")
            guard skip("+-"), let hours = number(2), skip(":"), let minutes = number(2), hours < 24, minutes < 60 else {
                return nil
            }
            offset = (hours * 60 + minutes) * (negative ? -60 : 60)
        }
        guard bytes.isEmpty else { return nil }
        let days = CalendarTime.days(year: Int64(year), month: month, day: day)
        let time = hour * 3600 + minute * 60 + second - offset
        self.init(seconds: days * 86400 + Int64(time), nanoseconds: nanoseconds)
    }
}
