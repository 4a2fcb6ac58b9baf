import Testing

@testable import Proxy

@Suite("What configuration asks of text and headers")
struct MatcherTests {
    static let texts: [(StringMatcher, String, Bool)] = [
        (StringMatcher(exact: "abc"), "abc", true), (StringMatcher(exact: "abc"), "abcd", false),
        (StringMatcher(exact: "abc"), "Abc", false), (StringMatcher(exact: ""), "", true),
        (StringMatcher(.exact(Array("AbC".utf8)), ignoresCase: true), "aBc", true),
        (StringMatcher(.prefix(Array("ab".utf8))), "abc", true), (StringMatcher(.prefix(Array("ab".utf8))), "a", false),
        (StringMatcher(.suffix(Array("bc".utf8))), "abc", true),
        (StringMatcher(.suffix(Array("bc".utf8))), "bcd", false),
        (StringMatcher(.contains(Array("b".utf8))), "abc", true),
        (StringMatcher(.contains(Array("x".utf8))), "abc", false),
        (StringMatcher(.contains(Array("B".utf8)), ignoresCase: true), "abc", true),
        (StringMatcher(.contains([])), "", true), (StringMatcher(.prefix([])), "", true),
    ]

    @Test("text matches by its pattern", arguments: texts.indices)
    func text(row: Int) {
        let (matcher, text, expected) = Self.texts[row]
        #expect(matcher.matches(text) == expected)
    }

    static let expressions: [(String, String, Bool)] = [
        ("a+b", "aaab", true), ("a+b", "xaaab", false), ("a.*", "a\u{e9}", true), ("", "", true), ("^$", "x", false),
        ("(a|b)*c", "ababc", true),
    ]

    @Test("a regular expression matches all of the text", arguments: expressions)
    func regex(row: (String, String, Bool)) throws {
        let regex = try Regex(row.0)
        #expect(StringMatcher(.regex(regex)).matches(row.1) == row.2)
    }

    @Test("an expression that costs exponential time elsewhere costs linear time here")
    func linear() throws {
        let regex = try Regex("(a*)*b")
        let text = String(repeating: "a", count: 200_000)
        #expect(!StringMatcher(.regex(regex)).matches(text))
    }

    @Test("what is no expression is refused with its reason")
    func invalid() {
        let error = #expect(throws: Regex.Invalid.self) { try Regex("a(b") }
        #expect(error?.description.contains("missing )") == true)
        #expect(throws: Regex.Invalid.self) { try Regex("(?=a)") }
    }

    @Test("a replacement knows its groups")
    func replacement() throws {
        let regex = try Regex("^/(\\w+)/(.*)$")
        var replaced = ""
        "/one/two".withBytes { text in
            regex.replacing(text, with: Array("/\\2/\\1".utf8)) { replaced = String(decoding: $0, as: UTF8.self) }
        }
        #expect(replaced == "/two/one")
        #expect(regex.objection(to: "\\3") != nil)
        #expect(regex.objection(to: "\\2") == nil)
    }

    static let headers: [(HeaderMatcher, [(String, String)], Bool)] = [
        (HeaderMatcher(HeaderKey("a"), .present(true)), [("a", "")], true),
        (HeaderMatcher(HeaderKey("a"), .present(true)), [], false),
        (HeaderMatcher(HeaderKey("a"), .present(false)), [], true),
        (HeaderMatcher(HeaderKey("a"), .present(true), inverts: true), [], true),
        (HeaderMatcher(HeaderKey("A"), .value(StringMatcher(exact: "x"))), [("a", "x")], true),
        (
            HeaderMatcher(HeaderKey("a"), .value(StringMatcher(exact: "x,y"))), [("a", "x"), ("b", "z"), ("a", "y")],
            false
        ),
        (HeaderMatcher(HeaderKey("a"), .value(StringMatcher(exact: "y"))), [("a", "x"), ("b", "z"), ("a", "y")], true),
        (
            HeaderMatcher(HeaderKey("a"), .value(StringMatcher(exact: "y")), inverts: true), [("a", "x"), ("a", "y")],
            false
        ),
        (HeaderMatcher(HeaderKey("a"), .value(StringMatcher(exact: "x")), inverts: true), [("a", "y")], true),
        (HeaderMatcher(HeaderKey("a"), .value(StringMatcher(exact: "x")), inverts: true), [], false),
        (HeaderMatcher(HeaderKey("a"), .value(StringMatcher(exact: "")), treatsMissingAsEmpty: true), [], true),
        (HeaderMatcher(HeaderKey("n"), .range(-5, 10)), [("n", "9")], true),
        (HeaderMatcher(HeaderKey("n"), .range(-5, 10)), [("n", "-5")], true),
        (HeaderMatcher(HeaderKey("n"), .range(-5, 10)), [("n", "10")], false),
        (HeaderMatcher(HeaderKey("n"), .range(-5, 10)), [("n", "9x")], false),
        (HeaderMatcher(HeaderKey("content-type"), .value(StringMatcher(exact: "t"))), [("content-type", "t")], true),
    ]

    @Test("a header field matches by its values", arguments: headers.indices)
    func header(row: Int) {
        let (matcher, fields, expected) = Self.headers[row]
        let block = HeaderBlock()
        for (name, value) in fields { value.withBytes { block.add(HeaderKey(name), $0) } }
        #expect(matcher.matches(block) == expected)
    }
}

extension String {
    func withBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        var text = self
        return text.withUTF8 { body(UnsafeRawBufferPointer($0)) }
    }
}
