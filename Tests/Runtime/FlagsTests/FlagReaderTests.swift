import Testing

@testable import Flags

@Suite("Flags of small programs")
struct FlagReaderTests {
    @Test("a value stands behind the name, or behind an equals sign, and may be empty or look like a flag")
    func values() throws {
        var reader = FlagReader(["--a", "1", "-b=2", "--c=", "--d=x=y", "--e", "-1"])
        var found: [String] = []
        while let name = try reader.nextName() { found.append("\(name) \(try reader.value())") }
        #expect(found == ["--a 1", "-b 2", "--c ", "--d x=y", "--e -1"])
    }

    @Test(
        "what is wrong is told with the flag's name",
        arguments: [
            (["--a"], "--a needs a value"), (["word"], "unexpected argument \"word\""),
            (["--a=x"], "--a: \"x\" is no number from 1 to 9"),
            (["--a", "10"], "--a: \"10\" is no number from 1 to 9"),
        ])
    func refusals(_ arguments: [String], _ words: String) {
        let error = #expect(throws: FlagError.self) {
            var reader = FlagReader(arguments)
            while try reader.nextName() != nil { _ = try reader.number(1...9) }
        }
        #expect(error?.description == words)
    }

    @Test("a switch that is given a value is refused at the next flag or at the end")
    func switches() throws {
        var reader = FlagReader(["--help=yes"])
        #expect(try reader.nextName() == "--help")
        #expect(throws: FlagError.self) { try reader.nextName() }
    }
}
