import Bytes
import Glibc
import Reactor

/// wrk and h2load, and what they say.
enum LoadGenerator {
    struct Unreadable: Error, CustomStringConvertible {
        var command: [String]
        var output: String
        var description: String { "\(command.joined(separator: " ")): \(output)" }
    }

    /// Requests that were answered well. Throws when any was answered badly.
    static func run(_ scenario: Scenario, _ port: UInt16, seconds: Int, on loop: EventLoop) async throws -> Int {
        let command = scenario.command(port, seconds: seconds)
        let output = try await ChildProcess.run(.init(command), on: loop, timeout: .seconds(seconds + 30))
        let text = output.text
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count >= 3, words[1] == "requests", words[2] == "in", let count = Int(words[0]) {
                guard !text.contains("Non-2xx") else { break }
                return count
            }
            // requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout
            if words.first == "requests:", words.count >= 14, let done = Int(words[7]),
                words[9] == "0" || words[10] == "failed,"
            {
                guard Int(words[9]) == 0 else { break }
                return done
            }
        }
        throw Unreadable(command: command, output: text + output.errorText)
    }

    /// Microseconds of each request at a rate of requests a second over one connection, by h2load.
    static func latenciesOverHTTP2(
        _ scenario: Scenario, _ port: UInt16, seconds: Int, _ folder: String, on loop: EventLoop
    ) async throws -> [Double] {
        let log = "\(folder)/h2load.log"
        try? Files.remove(log)
        let command = [
            "h2load", "-t1", "-c1", "-m100", "-D\(seconds)", "--rps", "\(scenario.rate)", "--log-file=\(log)",
            "http://127.0.0.1:\(port)\(scenario.path)",
        ]
        let output = try await ChildProcess.run(.init(command), on: loop, timeout: .seconds(seconds + 30))
        let values = try Files.readText(log).split(separator: "\n").compactMap { line in
            line.split(separator: "\t").last.flatMap { Double($0) }
        }
        guard !values.isEmpty else { throw Unreadable(command: command, output: output.text + output.errorText) }
        return values
    }
}
