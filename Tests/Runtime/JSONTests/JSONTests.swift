import JSON
import Testing

@Suite struct JSONTests {
    static let sample = #"{"a":[1,-2,3.5,1e3,true,false,null,"x\né☃\"\\"],"b":{"":{}, "c":[]},"z":9223372036854775807}"#

    @Test("what is read and written again is the same value")
    func roundTrip() throws {
        let value = try JSONValue.parse(Self.sample)
        #expect(try JSONValue.parse(value.encoded()) == value)
        #expect(try JSONValue.parse(value.pretty()) == value)
        #expect(value["a"]?[7]?.string == "x\né☃\"\\")
        #expect(value["z"]?.int == .max)
        #expect(value[path: "b", "c"] == [])
    }

    @Test("every true prefix of a text is refused, and nothing traps")
    func prefixes() throws {
        let bytes = Array(Self.sample.utf8)
        for count in 0..<bytes.count { #expect(throws: JSONError.self) { try JSONValue.parse(Array(bytes[..<count])) } }
    }

    @Test("a text with any byte changed is read or refused, and nothing traps")
    func flips() {
        var bytes = Array(Self.sample.utf8)
        for i in bytes.indices {
            let old = bytes[i]
            for change in [0x01, 0x20, 0x80, 0xFF] as [UInt8] {
                bytes[i] = old ^ change
                if let value = try? JSONValue.parse(bytes) { #expect((try? JSONValue.parse(value.encoded())) == value) }
            }
            bytes[i] = old
        }
    }

    @Test(
        "what RFC 8259 does not allow is refused",
        arguments: [
            "", " ", "nul", "01", "-", "1.", ".5", "1e", "+1", "[1,]", "{,}", #"{"a"}"#, #"{"a":1,}"#, "[1 2]",
            "\"\u{01}\"",
            #""\x""#, #""\ud800""#, #""\udc00""#, #""\ud800A""#, "1 2", "'a'", "NaN", "1e999",
        ])
    func refused(text: String) { #expect(throws: JSONError.self) { try JSONValue.parse(text) } }

    @Test(
        "bytes that are not UTF-8 are refused",
        arguments: [[0x22, 0xFF, 0x22], [0x22, 0xC3, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22]])
    func invalidUTF8(bytes: [UInt8]) { #expect(throws: JSONError.self) { try JSONValue.parse(bytes) } }

    @Test("nesting ends at the limit") func depth() throws {
        let deep = String(repeating: "[", count: 128) + String(repeating: "]", count: 128)
        _ = try JSONValue.parse(deep)
        #expect(throws: JSONError.self) { try JSONValue.parse("[\(deep)]") }
    }

    @Test("a member that is there twice is told by its path, and the last one counts") func duplicates() throws {
        var paths: [String] = []
        let value = try JSONValue.parse(#"{"a":[{"b":1,"c":2,"b":3}],"a":[{"b":4,"b":5}]}"#) { paths.append($0) }
        #expect(value == ["a": [["b": 5]]])
        #expect(paths == ["a[0].b", "a[0].b", "a"])
    }

    @Test("members stand in the order of their names' bytes") func order() throws {
        #expect(try JSONValue.parse(#"{"b":1,"a":2,"é":3,"Z":4}"#).encodedString() == #"{"Z":4,"a":2,"b":1,"é":3}"#)
    }

    @Test("texts that differ in bytes differ, also when they look the same") func normalization() {
        #expect(JSONValue.string("\u{e9}") != JSONValue.string("e\u{301}"))
        #expect(JSONValue(dictionaryLiteral: ("\u{e9}", 1), ("e\u{301}", 2)).object?.count == 2)
    }

    @Test("members are set, changed in depth and removed in place") func mutation() {
        var value = JSONValue.null
        value["a"] = 1
        value["b"]?["c"] = 2
        #expect(value == ["a": 1])
        value["b"] = [:]
        value["b"]?["c"] = 2
        value["a"] = nil
        #expect(value == ["b": ["c": 2]])
        var word: JSONValue = "x"
        word["a"] = 1
        #expect(word == "x")
    }

    @Test("integers beyond 64 bits become doubles") func bigNumbers() throws {
        #expect(try JSONValue.parse("-9223372036854775808") == .int(.min))
        #expect(try JSONValue.parse("9223372036854775808") == .double(9_223_372_036_854_775_808))
        #expect(try JSONValue.parse("1.0").int == 1)
    }
}
