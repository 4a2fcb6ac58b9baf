import JSON

/// One step of the way, and how it stands.
struct Finding: Hashable, Sendable {
    enum Verdict: String, Sendable {
        case good = "ok"
        /// Nothing is gained or lost by it.
        case neutral = "info"
        /// It may matter; whether it does depends on the request.
        case doubtful = "unsure"
        case bad = "broken"
    }

    var topic: String
    var verdict: Verdict
    /// What is so; the first says it, the others why.
    var sentences: [String]
    /// What to change, where it does not work.
    var remedy: String?
    /// All of it, for those who want to read it (`-o wide`).
    var details: [String] = []

    init(_ topic: String, _ verdict: Verdict, _ sentences: String..., remedy: String? = nil) {
        self.init(topic, verdict, sentences, remedy: remedy)
    }

    init(_ topic: String, _ verdict: Verdict, _ sentences: [String], remedy: String? = nil) {
        (self.topic, self.verdict, self.sentences, self.remedy) = (topic, verdict, sentences, remedy)
    }

    private static let width = 18

    func lines(isWide: Bool) -> [String] {
        let mark =
            switch verdict {
            case .good: Style.good("✓")
            case .neutral: Style.quiet("·")
            case .doubtful: Style.doubtful("?")
            case .bad: Style.bad("✗")
            }
        let head = topic + String(repeating: " ", count: max(1, Self.width - topic.count))
        let more = isWide || details.isEmpty ? details : ["(\(details.count) lines of rules: -o wide)"]
        return (sentences + more).enumerated().map { index, sentence in
            let line = isWide ? sentence : Self.shortened(sentence)
            return index == 0 ? "\(mark) \(head)\(line)" : String(repeating: " ", count: Self.width + 2) + line
        }
    }

    private static let longest = 160

    private static func shortened(_ line: String) -> String {
        line.count <= longest ? line : line.prefix(longest - 2) + " …"
    }

    var json: JSONValue {
        var object: JSONValue = [
            "topic": .string(topic), "verdict": .string(verdict.rawValue),
            "sentences": .array(sentences.map { .string($0) }),
        ]
        if let remedy { object["remedy"] = .string(remedy) }
        if !details.isEmpty { object["details"] = .array(details.map { .string($0) }) }
        return object
    }
}
