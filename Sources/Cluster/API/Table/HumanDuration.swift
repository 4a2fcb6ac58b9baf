import Bytes

/// Spans of time as kubectl's columns show them: two units while they are short, one when they are long.
public enum HumanDuration {
    /// `12s`, `4m30s`, `25m`, `3h5m`, `26h`, `5d3h`, `40d`, `2y10d`. Below −1 s it is `<invalid>`: clocks that disagree.
    public static func text(seconds: Int64) -> String {
        if seconds < -1 { return "<invalid>" }
        if seconds < 0 { return "0s" }
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400)
        if seconds < 120 { return "\(seconds)s" }
        if minutes < 10 { return pair(minutes, "m", seconds % 60, "s") }
        if minutes < 180 { return "\(minutes)m" }
        if hours < 8 { return pair(hours, "h", minutes % 60, "m") }
        if hours < 48 { return "\(hours)h" }
        if days < 8 { return pair(days, "d", hours % 24, "h") }
        if days < 730 { return "\(days)d" }
        if days < 2920 { return pair(days / 365, "y", days % 365, "d") }
        return "\(days / 365)y"
    }

    /// How long ago `timestamp` (RFC 3339) was; `<unknown>` when there is none.
    public static func since(_ timestamp: String?, now: Timestamp) -> String {
        guard let timestamp, let then = Timestamp(rfc3339: timestamp) else { return "<unknown>" }
        return text(seconds: now.seconds - then.seconds)
    }

    private static func pair(_ big: Int64, _ bigUnit: String, _ small: Int64, _ smallUnit: String) -> String {
        small == 0 ? "\(big)\(bigUnit)" : "\(big)\(bigUnit)\(small)\(smallUnit)"
    }
}
