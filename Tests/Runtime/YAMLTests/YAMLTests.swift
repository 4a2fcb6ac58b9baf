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

    @Test(
        "text that older readers take for a day, a moment or a number stands in quotes",
        arguments: [
            ("2026-11-26T20:00:59Z", true), ("2026-11-26", true), ("12:30", true), ("1_000", true), (".inf", true),
            ("10.96.0.9", false), ("10.0.0.0/8", false), ("fd00::1", false), ("v1.36", false), ("2026-plan", false),
            ("2s", false), ("a_b:c", false),
        ])
    func older(text: String, isQuoted: Bool) throws {
        let written = try YAML.text(["a": .string(text)])
        #expect(written == (isQuoted ? "a: \"\(text)\"\n" : "a: \(text)\n"))
        #expect(try YAML.parse(written) == ["a": .string(text)])
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

    @Test(
        "what is wrong is said with its line",
        arguments: [
            ("a: 1\nb: [1, 2\n", 3), ("a: 1\nb: 2\na: 3\n", 3), ("a: 1\n  b: 2\n", 2), ("a: *b\n", 1),
            ("a:\n? [x]\n: 1\n", 2),
            ("a: \u{7}\n", 1), ("\na: @x\n", 2), ("a: &a [*a]\n", 1), ("a: \"x\n", 2),
        ])
    func lines(text: String, line: Int) {
        let error = #expect(throws: YAMLError.self) { try YAML.parse(text) }
        #expect(error?.line == line, "\(String(describing: error))")
    }

    @Test("each value has the line that it is on, in the order of the value") func located() throws {
        let (value, lines) = try YAML.parseLocated(
            "z: 1\na:\n- x\n- k: |\n    text\n  b: *c\n".replacing("*c", with: "2"))
        #expect(value == ["z": 1, "a": ["x", ["k": "text\n", "b": 2]]])
        #expect(lines.children.map(\.line) == [2, 1])
        #expect(lines.children[0].children.map(\.line) == [3, 4])
        #expect(lines.children[0].children[1].children.map(\.line) == [6, 4])
    }

    @Test("aliases are what their anchors name, keys also") func aliases() throws {
        #expect(
            try YAML.parse("a: &x [1, {b: &y 2}]\nc: *x\nd: *y\n&k e: 1\nf: {*k : 3}\n") == [
                "a": [1, ["b": 2]], "c": [1, ["b": 2]], "d": 2, "e": 1, "f": ["e": 3],
            ])
    }

    @Test("a tag decides instead of the style") func tags() throws {
        #expect(try YAML.parse("[!!str 12, !!int '12', ! true, !!bool \"true\"]") == ["12", 12, "true", true])
    }

    @Test("a text longer, deeper or bigger than its limits is refused") func limits() throws {
        #expect(throws: YAMLError.self) { try YAML.parse("a: 1", limits: YAMLLimits(size: 3)) }
        let deep = { (depth: Int) in String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
        #expect(throws: Never.self) { try YAML.parse(deep(128)) }
        #expect(throws: YAMLError.self) { try YAML.parse(deep(129)) }
        // The list and its nine elements.
        #expect(throws: Never.self) { try YAML.parse("[1,2,3,4,5,6,7,8,9]", limits: YAMLLimits(nodes: 10)) }
        #expect(throws: YAMLError.self) { try YAML.parse("[1,2,3,4,5,6,7,8,9]", limits: YAMLLimits(nodes: 9)) }
    }

    @Test("neither prefixes of a text nor flipped bits in it do harm") func mutations() {
        let text = Array("a: &x {b: [1, 'two', \"t\\n\"], c: |\n  x\n}\nd: *x\n---\n? k\n: - 1e3\n# end\n".utf8)
        for count in 0...text.count { _ = try? YAML.parseAll(String(decoding: text.prefix(count), as: UTF8.self)) }
        for index in text.indices {
            for bit in 0..<8 {
                var changed = text
                changed[index] ^= 1 << bit
                _ = try? YAML.parseAll(String(decoding: changed, as: UTF8.self))
            }
        }
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
