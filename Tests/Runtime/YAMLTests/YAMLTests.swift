import JSON
import Testing
import YAML

@Suite struct YAMLTests {
    @Test(
        "a plain scalar is read as Kubernetes reads it",
        arguments: [
            ("true", JSONValue.bool(true)), ("yes", .string("yes")), ("on", .string("on")), ("12", .int(12)),
            ("-3", .int(-3)), ("1.5", .double(1.5)), ("1e3", .double(1000)), ("0x1F", .int(31)), ("null", .null),
            ("1.2.3.4", .string("1.2.3.4")), ("100m", .string("100m")), ("\"12\"", .string("12")),
            ("'true'", .string("true")),
            ("2026-11-24", .string("2026-11-24")), ("-", .array([.null])), ("1e", .string("1e")),
        ])
    func scalars(text: String, expected: JSONValue) throws {
        #expect(try YAML.parse("a: \(text == "-" ? "\n- " : text)") == ["a": expected])
    }

    @Test("a stream of documents leaves out the empty ones")
    func stream() throws {
        #expect(
            try YAML.parseAll("---\na: 1\n---\n---\n# nothing\n---\nb: [x, {c: d}]\n") == [
                ["a": 1], ["b": ["x", ["c": "d"]]],
            ])
        #expect(try YAML.parseAll("").isEmpty)
    }

    @Test("JSON is YAML") func json() throws {
        #expect(try YAML.parse(#"{"a": [1, "x", null, true], "b": {}}"#) == ["a": [1, "x", .null, true], "b": [:]])
    }

    @Test("a key that is there twice is refused with its line") func duplicate() {
        #expect { try YAML.parse("a: 1\nb: 2\na: 3\n") } throws: { "\($0)".contains("a") }
    }

    @Test("a text that multiplies itself by aliases is refused") func laughs() {
        var text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
        for i in 1...9 {
            text += "a\(i): &a\(i) [" + Array(repeating: "*a\(i - 1)", count: 10).joined(separator: ",") + "]\n"
        }
        let bomb = text
        #expect(throws: YAMLError.self) { try YAML.parse(bomb) }
    }

    @Test(
        "what is written is read back the same",
        arguments: [
            JSONValue.string("yes"), "", "12", "a: b", "- x", " lead", "trail ", "line\nline\n", "line\nline", "#c",
            "~", "x #y",
            ["a": [1, 2.5, true, .null, "on"], "e": [], "f": [:], "k": ["nested": ["deep": "é ☃"]]],
        ])
    func roundTrip(value: JSONValue) throws {
        #expect(try YAML.parse(try YAML.text(["v": value])) == ["v": value])
    }
}
