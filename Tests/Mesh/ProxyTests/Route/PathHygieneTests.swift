import Testing

@testable import Proxy

@Suite("The path of a request, before anything looks at it")
struct PathHygieneTests {
    /// As Envoy 1.40 was seen to do.
    static let normalized: [(String, String?)] = [
        ("/a/b", "/a/b"), ("/a/./b", "/a/b"), ("/a/../b", "/b"), ("/../a", "/a"), ("/a/..", "/"), ("/a/.", "/a/"),
        ("/a/%2e%2e/b", "/b"), ("/a/%2E/b", "/a/b"), ("/a\\b", "/a/b"), ("/%41%2d%2f", "/A-%2f"), ("/a%00b", nil),
        ("/x^y|z", "/x%5Ey%7Cz"), ("/a b", "/a%20b"), ("/a?x=/../b", "/a?x=/../b"), ("/a/.;x/b", "/a/b"),
        ("/a;b/..;/c", "/c"), ("/a/%2e%2e;/c", "/a/..;/c"), ("/a/...;/c", "/a/...;/c"), ("/a/b;p/..", "/a/"),
        ("/a;/./b", "/a;/b"), ("/%zz", "/%zz"), ("/a/../../../b", "/b"),
    ]

    @Test("is normalised as RFC 3986 and Envoy have it", arguments: normalized)
    func normalize(row: (String, String?)) {
        let block = HeaderBlock()
        row.0.withBytes { block.setPath($0) }
        let isGood = PathHygiene.normalize(block)
        #expect(isGood == (row.1 != nil))
        if let expected = row.1 { #expect(String(decoding: block.path, as: UTF8.self) == expected) }
    }

    @Test("is normal once it was normalised", arguments: normalized)
    func idempotent(row: (String, String?)) {
        guard let expected = row.1, !expected.contains("..;") else { return }
        let block = HeaderBlock()
        expected.withBytes { block.setPath($0) }
        #expect(PathHygiene.normalize(block))
        #expect(String(decoding: block.path, as: UTF8.self) == expected)
    }

    static let merged: [(String, String)] = [
        ("/", "/"), ("//", "//"), ("//a", "/a"), ("/a//b///c", "/a/b/c"), ("/a//", "/a/"), ("/a?b//c", "/a?b//c"),
    ]

    @Test("has single slashes where they are merged", arguments: merged)
    func merge(row: (String, String)) {
        let block = HeaderBlock()
        row.0.withBytes { block.setPath($0) }
        PathHygiene.mergeSlashes(block)
        #expect(String(decoding: block.path, as: UTF8.self) == row.1)
    }

    static let unescaped: [(String, String, Bool)] = [
        ("/a%2fb", "/a/b", true), ("/a%5Cb", "/a\\b", true), ("/a%2", "/a%2", false), ("/a?%2f", "/a?%2f", false),
        ("/%2F%41", "//%41", true),
    ]

    @Test("has plain slashes where they are unescaped", arguments: unescaped)
    func unescape(row: (String, String, Bool)) {
        let block = HeaderBlock()
        row.0.withBytes { block.setPath($0) }
        #expect(PathHygiene.unescapeSlashes(block) == row.2)
        #expect(String(decoding: block.path, as: UTF8.self) == row.1)
    }

    @Test("fits a template, and its variables another")
    func template() throws {
        let template = try PathTemplate("/videos/{id}/**")
        let rest = try PathTemplate("/a/{rest=**}")
        let matches = ["/videos/7/x/y", "/videos/7/", "/videos/7", "/video/7/x"].map { $0.withBytes(template.matches) }
        #expect(matches == [true, true, false, false])
        let rewrite = try PathTemplate.Rewrite("/new/{id}/end")
        let made = "/videos/7/x".withBytes { rewrite.path($0, template) }
        #expect(made.map { String(decoding: $0, as: UTF8.self) } == "/new/7/end")
        let tail = "/a/b/c".withBytes { path in rest.value(Array("rest".utf8), path) }
        #expect(tail == Array("b/c".utf8))
        for wrong in ["a", "/{", "/**/a", "/a*b", "/{1}", "/{a}/{a}"] {
            #expect(throws: PathTemplate.Invalid.self, "\(wrong)") { try PathTemplate(wrong) }
        }
    }
}
