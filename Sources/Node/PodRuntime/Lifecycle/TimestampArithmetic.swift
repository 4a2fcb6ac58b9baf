import Bytes

extension Timestamp {
    func adding(seconds: Int64) -> Timestamp { adding(.seconds(seconds)) }

    static func - (later: Timestamp, earlier: Timestamp) -> Duration { later.duration(since: earlier) }
}
