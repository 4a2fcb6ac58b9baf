import ClusterAPI
import Testing

@Suite("Names")
struct NamesTests {
    @Test(
        "what each shape allows",
        arguments: [
            ("label", "a", true), ("label", "a-1", true), ("label", "1a", true), ("label", "", false),
            ("label", "-a", false),
            ("label", "a-", false), ("label", "A", false), ("label", "a.b", false),
            ("label", String(repeating: "a", count: 63), true),
            ("label", String(repeating: "a", count: 64), false),
            ("subdomain", "a.b", true), ("subdomain", "a..b", false), ("subdomain", ".a", false),
            ("subdomain", "a.b-", false),
            ("subdomain", "ä", false), ("subdomain", String(repeating: "a", count: 254), false),
            ("1035", "a1", true), ("1035", "1a", false),
            ("qualified", "a", true), ("qualified", "example.com/a", true), ("qualified", "/a", false),
            ("qualified", "Example.com/a", false), ("qualified", "a/b/c", false), ("qualified", "", false),
            ("qualified", "a_b.C-d", true), ("qualified", "-a", false),
            ("value", "", true), ("value", "A_b.c-1", true), ("value", "a b", false), ("value", "a/", false),
            ("port", "http", true), ("port", "http-2", true), ("port", "123", false), ("port", "a--b", false),
            ("port", "a-sixteen-letter", false), ("port", "-a", false),
            ("config", ".dockercfg", true), ("config", "a/b", false), ("config", "..", false), ("config", "..a", false),
            ("env", "A.b-c", true), ("env", "a=b", false), ("env", "", false), ("env", "1A", true),
            ("segment", "system:node", true), ("segment", "a/b", false), ("segment", "..", false),
            ("segment", "a%b", false),
        ])
    func shapes(shape: String, name: String, fine: Bool) {
        let problems =
            switch shape {
            case "label": Names.dns1123Label(name)
            case "subdomain": Names.dns1123Subdomain(name)
            case "1035": Names.dns1035Label(name)
            case "qualified": Names.qualifiedName(name)
            case "value": Names.labelValue(name)
            case "port": Names.portName(name)
            case "config": Names.configKey(name)
            case "env": Names.environmentVariable(name)
            default: Names.pathSegment(name)
            }
        #expect(problems.isEmpty == fine, "\(problems)")
    }

    @Test("the sentence is the one users know")
    func sentence() {
        #expect(
            Names.dns1123Label("A") == [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
                    + "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation "
                    + "is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ])
    }
}
