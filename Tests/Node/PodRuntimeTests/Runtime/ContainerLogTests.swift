import Bytes
import Glibc
import Reactor
import Testing

@testable import PodRuntime

@Suite("container logs")
struct ContainerLogTests {
    private static let lines = """
        2026-01-02T03:04:05.000000001+00:00 stdout F one
        2026-01-02T03:04:06.5+00:00 stderr F two
        not a line of the format
        2026-01-02T03:04:07+00:00 stdout P thr
        2026-01-02T03:04:07+00:00 stdout F ee
        2026-01-02T03:04:08+00:00 stdout F\u{20}

        """

    private func read(_ text: String = lines, _ change: (inout LogQuery) -> Void = { _ in }) throws -> String {
        var template = Array("/tmp/weft-log-XXXXXX".utf8CString)
        let fd = mkstemp(&template)
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        close(fd)
        defer { unlink(path) }
        try Files.writeAtomically(path, Array(text.utf8))
        var query = LogQuery()
        change(&query)
        var reader = try ContainerLogReader(path: path, query: query)
        var out: [UInt8] = []
        while true {
            let part = try reader.read()
            if part.isEmpty { return String(decoding: out, as: UTF8.self) }
            out += part
        }
    }

    @Test("a log is given as it was written, without the format's own fields, with parts of lines joined")
    func plain() throws { #expect(try read() == "one\ntwo\nthree\n\n") }

    @Test("the query chooses lines, streams, times and length")
    func queries() throws {
        #expect(try read { $0.tailLines = 2 } == "ee\n\n")
        #expect(try read { $0.tailLines = 0 } == "")
        #expect(try read { $0.tailLines = 99 } == "one\ntwo\nthree\n\n")
        #expect(try read { $0.stream = "stderr" } == "two\n")
        #expect(try read { $0.since = Timestamp(rfc3339: "2026-01-02T03:04:06.6Z") } == "three\n\n")
        #expect(try read { $0.limitBytes = 5 } == "one\nt")
        #expect(try read { $0.timestamps = true }.hasPrefix("2026-01-02T03:04:05.000000001+00:00 one\n"))
    }

    @Test("every prefix of a log is readable, and so is one with any byte flipped")
    func robustness() throws {
        let bytes = Array(Self.lines.utf8)
        for length in 0...bytes.count { _ = try read(String(decoding: bytes.prefix(length), as: UTF8.self)) }
        for i in bytes.indices {
            var broken = bytes
            broken[i] ^= 0x24
            _ = try read(String(decoding: broken, as: UTF8.self))
        }
    }

    @Test("a tail is found across the chunks that a file is read in")
    func longTail() throws {
        let text = (0..<20_000).map { "2026-01-02T03:04:05Z stdout F line \($0)\n" }.joined()
        #expect(try read(text) { $0.tailLines = 3 } == "line 19997\nline 19998\nline 19999\n")
        #expect(try read(text) { $0.tailLines = 15_000 }.split(separator: "\n").count == 15_000)
    }

    @Test("parameters of a request are read, and refused by name when they make no sense")
    func parameters() throws {
        let now = Timestamp(seconds: 1000, nanoseconds: 0)
        let query = try LogQuery(
            [("follow", "true"), ("tailLines", "7"), ("sinceSeconds", "10"), ("stream", "Stdout"), ("other", "x")],
            now: now)
        #expect(query.follow && query.tailLines == 7 && query.since?.seconds == 990 && query.stream == "stdout")
        for (name, value) in [
            ("tailLines", "-1"), ("limitBytes", "x"), ("sinceTime", "yesterday"), ("sinceSeconds", "99999999999"),
        ] {
            #expect(throws: LogQuery.Malformed.self, "\(name)") { try LogQuery([(name, value)], now: now) }
        }
    }

    @Test("long files are put aside, and only the newest are kept")
    func rotation() throws {
        var template = Array("/tmp/weft-rotate-XXXXXX".utf8CString)
        let directory = String(cString: try #require(mkdtemp(&template)))
        defer { try? Files.removeTree(directory) }
        let path = directory + "/0.log"
        for round in 0..<8 {
            try Files.writeAtomically(path, [UInt8](repeating: 0x78, count: 10))
            #expect(try LogRotation.rotate(path, stamp: "\(round)", sizeLimit: 10))
        }
        #expect(Directory.names(directory) == ["0.log.4", "0.log.5", "0.log.6", "0.log.7"])
        try Files.writeAtomically(path, [0x78])
        #expect(try !LogRotation.rotate(path, stamp: "9", sizeLimit: 10))
    }
}
