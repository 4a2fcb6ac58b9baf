import ClusterAPI
import JSON
import Testing

@Suite("Label selectors")
struct LabelSelectorTests {
    static let web: [String: String] = ["app": "web", "tier": "front", "shard": "7"]

    @Test(
        "a selector chooses by every requirement",
        arguments: [
            ("", true), ("app=web", true), ("app==web", true), ("app=db", false), ("app!=db", true),
            ("app!=web", false),
            ("owner!=me", true), ("app in (web, db)", true), ("app in (db)", false), ("app notin (db)", true),
            ("owner notin (me)", true), ("app notin (web,db)", false), ("app", true), ("owner", false),
            ("!owner", true),
            ("!app", false), ("app=web,tier=front", true), ("app=web,tier=back", false), ("app=web,!owner", true),
            ("shard>6", true), ("shard<6", false), ("shard>7", false), ("tier>1", false),
            ("app in (web),tier notin (back)", true),
            (" app = web , tier ", true), ("owner=", false), ("app in ()", false),
            ("example.com/role", false), ("x in (,a)", false),
        ])
    func matching(text: String, expected: Bool) throws {
        let selector = try LabelSelector(parsing: text)
        #expect(selector.matches(Self.web) == expected)
        #expect(selector.matches(JSONValue(stringMap: Self.web)) == expected)
    }

    @Test(
        "a malformed selector is a bad request",
        arguments: [
            "app=web,", ",", "=", "app in", "app in (", "app in (a", "app in a", "!", "app=a b", "a b", "app===b",
            "-x=1",
            "x=" + String(repeating: "a", count: 64), "a>b", "app!", "(a)", "app=(a)", "a,,b",
        ])
    func malformed(text: String) {
        #expect { try LabelSelector(parsing: text) } throws: { error in
            (error as? StatusError)?.reason == .badRequest
        }
    }

    @Test("every prefix of a selector parses or is refused, and never traps")
    func prefixes() {
        let text = "app in (web,db),!owner,tier!=back,shard>6,x notin (a,),example.com/y==z"
        for length in 0...text.count { _ = try? LabelSelector(parsing: String(text.prefix(length))) }
    }

    @Test(
        "the text form reads back as the same selector",
        arguments: [
            "app=web", "app in (a,b),tier", "!owner", "a!=b,c notin (d,e),f>3",
        ])
    func description(text: String) throws {
        let selector = try LabelSelector(parsing: text)
        #expect(try LabelSelector(parsing: selector.description) == selector)
    }

    @Test("an object selector means its labels and expressions together; none chooses nothing, an empty one everything")
    func object() throws {
        let selector = LabelSelector(
            [
                "matchLabels": ["app": "web"],
                "matchExpressions": [["key": "tier", "operator": "In", "values": ["front"]]],
            ])
        #expect(selector?.matches(Self.web) == true)
        #expect(selector?.matches(["app": "web"]) == false)
        #expect(selector?.description == "app=web,tier in (front)")
        #expect(LabelSelector(nil as JSONValue?) == nil)
        #expect(LabelSelector([:] as JSONValue)?.matches(Self.web) == true)
        #expect(LabelSelector(["matchExpressions": [["key": "a", "operator": "In"]]]) == nil)
    }
}

@Suite("Field selectors")
struct FieldSelectorTests {
    static let pod: JSONValue = [
        "metadata": ["name": "p", "namespace": "n"], "spec": ["nodeName": "n1", "restartPolicy": "Always"],
        "status": ["phase": "Running", "podIP": "10.0.0.1"],
    ]
    static let podKind = GroupVersionKind(kind: "Pod")

    @Test(
        "a pod is chosen by its fields",
        arguments: [
            ("", true), ("metadata.name=p", true), ("metadata.name=q", false),
            ("spec.nodeName=n1,status.phase=Running", true),
            ("spec.nodeName!=n1", false), ("status.phase!=Failed", true), ("spec.host=n1", true),
            ("status.phase==Running", true),
            ("spec.nodeName=", false), ("status.nominatedNodeName=", true), ("spec.hostNetwork=false", true),
            ("metadata.namespace=n", true),
        ])
    func pods(text: String, expected: Bool) throws {
        let selector = try FieldSelector(parsing: text)
        try selector.check(Self.podKind, namespaced: true)
        #expect(selector.matcher(for: Self.podKind).matches(Self.pod) == expected)
    }

    @Test("a field that the kind has not is refused in upstream's words")
    func unknown() throws {
        let selector = try FieldSelector(parsing: "spec.foo=1")
        #expect(throws: StatusError.badRequest("field label not supported: spec.foo")) {
            try selector.check(Self.podKind, namespaced: true)
        }
        #expect(
            throws: StatusError.badRequest(
                "\"spec.foo\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        ) { try selector.check(GroupVersionKind(group: "apps", kind: "Deployment"), namespaced: true) }
    }

    @Test("malformed text is a bad request", arguments: ["a", "a=b=c", "a=\\x", "a=b\\"])
    func malformed(text: String) {
        #expect(throws: StatusError.self) { try FieldSelector(parsing: text) }
    }

    @Test("escaped separators belong to the value")
    func escapes() throws {
        let selector = try FieldSelector(parsing: #"metadata.name=a\,b\=c\\"#)
        #expect(selector.required("metadata.name") == #"a,b=c\"#)
    }
}
