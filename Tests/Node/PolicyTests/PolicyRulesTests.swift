import Bytes
import ClusterAPI
import JSON
import Netlink
import TestSupport
import Testing

@testable import Policy

/// Each row of what NetworkPolicy v1 means, with real packets: who may, and who may not. All over IPv4 and IPv6.
@Suite("The rules of NetworkPolicy v1", .serialized, .ownThreads)
struct PolicyRulesTests {
    /// "x/b > x/a tcp 80" passes, "x/b ! x/a tcp 80" does not.
    struct Row: Sendable, CustomTestStringConvertible {
        var name: String
        /// By namespace.
        var policies: [(String, JSONValue)]
        var expected: [String]
        var testDescription: String { name }

        init(_ name: String, _ policies: [(String, JSONValue)], _ expected: [String]) {
            self.name = name
            self.policies = policies
            self.expected = expected
        }
    }

    private static let a: JSONValue = ["matchLabels": ["pod": "a"]]
    private static let b: JSONValue = ["matchLabels": ["pod": "b"]]
    private static let c: JSONValue = ["matchLabels": ["pod": "c"]]
    private static let y: JSONValue = ["matchLabels": ["ns": "y"]]
    private static func tcp(_ port: JSONValue) -> JSONValue { ["protocol": "TCP", "port": port] }

    static let rows: [Row] = [
        // Isolation
        Row(
            "a policy that selects nobody changes nothing",
            [("x", ["podSelector": ["matchLabels": ["pod": "nobody"]], "ingress": []])],
            ["x/b > x/a", "y/a > x/a", "world > x/a"]),
        Row(
            "deny all ingress of a namespace", [("x", ["podSelector": [:], "policyTypes": ["Ingress"]])],
            ["x/b ! x/a", "y/a ! x/b", "world ! x/a", "x/c ! x/a udp 80", "x/b ! x/a ping", "x/a > y/a", "node > x/a"]),
        Row(
            "an empty list of rules allows nobody", [("x", ["podSelector": [:], "ingress": []])],
            ["x/b ! x/a", "world ! x/a"]),
        Row(
            "deny all egress of a namespace", [("x", ["podSelector": [:], "policyTypes": ["Egress"]])],
            ["x/a ! x/b", "x/a ! y/a", "x/a ! world", "x/a ! y/a udp 80", "x/a ! y/a ping", "y/a > x/a", "world > x/a"]),
        Row(
            "deny all of both directions", [("x", ["podSelector": [:], "policyTypes": ["Ingress", "Egress"]])],
            ["x/a ! y/a", "y/a ! x/a", "node > x/a", "node > x/b udp 80"]),
        Row(
            "types that are not told follow from the rules: egress only where there are some",
            [("x", ["podSelector": a, "egress": [["to": [["podSelector": b]]]]])],
            ["x/a > x/b", "x/a ! y/a", "x/b ! x/a"]),
        Row(
            "an empty rule allows all", [("x", ["podSelector": a, "ingress": [[:]]])],
            ["x/b > x/a", "world > x/a", "y/b > x/a udp 80", "y/b > x/a ping"]),
        Row(
            "an empty list of peers is everybody", [("x", ["podSelector": a, "ingress": [["from": []]]])],
            ["x/b > x/a", "world > x/a"]),
        // Union
        Row(
            "policies add up: whoever any of them lets in may",
            [
                ("x", ["podSelector": a, "ingress": [["from": [["podSelector": b]]]]]),
                ("x", ["podSelector": [:], "ingress": [["from": [["podSelector": c]], "ports": [tcp(81)]]]]),
            ],
            ["x/b > x/a tcp 80", "x/c > x/a tcp 81", "x/c ! x/a tcp 80", "x/a ! x/b tcp 80", "y/a ! x/a"]),
        Row(
            "one that allows all outdoes the others",
            [("x", ["podSelector": [:], "ingress": []]), ("x", ["podSelector": a, "ingress": [[:]]])],
            ["y/a > x/a", "y/a ! x/b"]),
        Row(
            "a connection needs the leave of both ends",
            [
                ("x", ["podSelector": a, "policyTypes": ["Egress"], "egress": [["to": [["podSelector": b]]]]]),
                ("y", ["podSelector": a, "ingress": [[:]]]),
                ("x", ["podSelector": b, "ingress": [["from": [["podSelector": c]]]]]),
            ],
            ["x/a ! y/a", "x/a ! x/b", "x/c > x/b", "x/b > y/a"]),
        // Peers
        Row(
            "a pod selector alone is about the policy's own namespace",
            [("x", ["podSelector": a, "ingress": [["from": [["podSelector": b]]]]])],
            ["x/b > x/a", "y/b ! x/a", "x/c ! x/a"]),
        Row(
            "a namespace selector alone is all pods there",
            [("x", ["podSelector": a, "ingress": [["from": [["namespaceSelector": y]]]]])],
            ["y/a > x/a", "y/c > x/a", "x/b ! x/a", "world ! x/a"]),
        Row(
            "both in one item must hold",
            [("x", ["podSelector": a, "ingress": [["from": [["namespaceSelector": y, "podSelector": b]]]]])],
            ["y/b > x/a", "y/a ! x/a", "x/b ! x/a"]),
        Row(
            "of two items one is enough",
            [("x", ["podSelector": a, "ingress": [["from": [["namespaceSelector": y], ["podSelector": b]]]]])],
            ["y/b > x/a", "y/a > x/a", "x/b > x/a", "x/c ! x/a"]),
        Row(
            "an empty namespace selector is every namespace, and not the world",
            [("x", ["podSelector": a, "ingress": [["from": [["namespaceSelector": [:]]]]]])],
            ["y/b > x/a", "x/c > x/a", "world ! x/a"]),
        Row(
            "an empty pod selector is every pod of the namespace",
            [("x", ["podSelector": a, "ingress": [["from": [["podSelector": [:]]]]]])],
            ["x/b > x/a", "x/c > x/a", "y/a ! x/a"]),
        Row(
            "expressions",
            [
                (
                    "x",
                    [
                        "podSelector": ["matchExpressions": [["key": "pod", "operator": "In", "values": ["a", "c"]]]],
                        "ingress": [
                            [
                                "from": [
                                    [
                                        "namespaceSelector": [
                                            "matchExpressions": [
                                                [
                                                    "key": "kubernetes.io/metadata.name", "operator": "NotIn",
                                                    "values": ["x"],
                                                ]
                                            ]
                                        ],
                                        "podSelector": [
                                            "matchExpressions": [
                                                ["key": "pod", "operator": "Exists"],
                                                ["key": "pod", "operator": "NotIn", "values": ["a"]],
                                            ]
                                        ],
                                    ]
                                ]
                            ]
                        ],
                    ]
                )
            ],
            ["y/b > x/a", "y/a ! x/a", "x/b ! x/a", "y/a > x/b"]),
        Row(
            "egress to pods by both selectors",
            [
                (
                    "x",
                    [
                        "podSelector": a, "policyTypes": ["Egress"],
                        "egress": [["to": [["namespaceSelector": y, "podSelector": c]]]],
                    ]
                )
            ],
            ["x/a > y/c", "x/a ! y/a", "x/a ! world", "x/b > y/a", "y/a > x/a"]),
        // Addresses
        Row(
            "an address block with exceptions, of pods, too",
            [
                (
                    "x",
                    [
                        "podSelector": a,
                        "ingress": [
                            [
                                "from": [
                                    ["ipBlock": ["cidr": "10.244.0.0/16", "except": ["10.244.2.0/24"]]],
                                    ["ipBlock": ["cidr": "fd00::/16", "except": ["fd00:2::/32", "fd00:9::/32"]]],
                                ]
                            ]
                        ],
                    ]
                )
            ],
            ["x/b > x/a", "y/a > x/a", "x/c ! x/a", "y/c ! x/a", "world ! x/a"]),
        Row(
            "what one block excepts another may allow",
            [
                (
                    "x",
                    [
                        "podSelector": a,
                        "ingress": [
                            [
                                "from": [
                                    ["ipBlock": ["cidr": "0.0.0.0/0", "except": ["203.0.113.0/24"]]],
                                    ["ipBlock": ["cidr": "203.0.113.9/32"]],
                                    ["ipBlock": ["cidr": "::/0", "except": ["fd00:9::/32"]]],
                                    ["ipBlock": ["cidr": "fd00:9::9/128"]],
                                ]
                            ]
                        ],
                    ]
                )
            ],
            ["x/b > x/a", "world > x/a", "y/c > x/a ping"]),
        Row(
            "egress to an address block, on one port",
            [
                (
                    "x",
                    [
                        "podSelector": [:], "policyTypes": ["Egress"],
                        "egress": [
                            [
                                "to": [["ipBlock": ["cidr": "203.0.113.0/24"]], ["ipBlock": ["cidr": "fd00:9::/32"]]],
                                "ports": [tcp(80)],
                            ]
                        ],
                    ]
                )
            ],
            ["x/a > world tcp 80", "x/a ! world tcp 81", "x/a ! world udp 80", "x/a ! x/b"]),
        // Ports
        Row(
            "one port of one protocol",
            [("x", ["podSelector": a, "ingress": [["ports": [tcp(80)]]]])],
            ["x/b > x/a tcp 80", "world > x/a tcp 80", "x/b ! x/a tcp 81", "x/b ! x/a udp 80", "x/b ! x/a ping"]),
        Row(
            "TCP where no protocol is told, and all ports where no port is",
            [("x", ["podSelector": a, "ingress": [["ports": [["port": 81], ["protocol": "UDP"]]]]])],
            ["x/b > x/a tcp 81", "x/b ! x/a tcp 80", "x/b > x/a udp 80", "x/b > x/a udp 8080", "x/b ! x/a ping"]),
        Row(
            "a named port is each destination's own number: what comes in",
            [("x", ["podSelector": [:], "ingress": [["ports": [tcp("web")]]]])],
            ["x/c > x/a tcp 80", "x/c ! x/a tcp 81", "x/c > x/b tcp 81", "x/c ! x/b tcp 80", "x/c ! x/a udp 80"]),
        Row(
            "a named port is each destination's own number: what goes out",
            [
                (
                    "x",
                    [
                        "podSelector": c, "ingress": [],
                    ]
                ),
                (
                    "x",
                    [
                        "podSelector": a, "policyTypes": ["Egress"],
                        "egress": [["to": [["namespaceSelector": y]], "ports": [tcp("web")]]],
                    ]
                ),
            ],
            ["x/a > y/a tcp 80", "x/a ! y/a tcp 81", "x/a > y/b tcp 81", "x/a ! y/b tcp 80", "x/a ! x/b tcp 81"]),
        Row(
            "a named port to everybody is that port of whichever pod has it",
            [
                (
                    "x",
                    [
                        "podSelector": a, "policyTypes": ["Egress"],
                        "egress": [["ports": [["protocol": "UDP", "port": "dns"]]]],
                    ]
                )
            ],
            ["x/a > y/a udp 80", "x/a > x/b udp 80", "x/a ! y/a tcp 80", "x/a ! world udp 80"]),
        Row(
            "a named port that nobody has allows nothing",
            [("x", ["podSelector": a, "ingress": [["ports": [tcp("admin")]]]])],
            ["x/b ! x/a tcp 80", "x/b ! x/a tcp 81"]),
        Row(
            "ranges of ports, overlapping ones",
            [
                (
                    "x",
                    [
                        "podSelector": a,
                        "ingress": [["from": [["podSelector": b]], "ports": [["port": 81, "endPort": 9000]]]],
                    ]
                ),
                (
                    "x",
                    [
                        "podSelector": a,
                        "ingress": [["from": [["podSelector": c]], "ports": [["port": 80, "endPort": 81]]]],
                    ]
                ),
                (
                    "x",
                    ["podSelector": a, "ingress": [["ports": [["protocol": "UDP", "port": 8000, "endPort": 8081]]]]]
                ),
            ],
            [
                "x/b > x/a tcp 81", "x/b > x/a tcp 8080", "x/b ! x/a tcp 80", "x/c > x/a tcp 80", "x/c > x/a tcp 81",
                "x/c ! x/a tcp 8080", "world > x/a udp 8080", "world ! x/a udp 80", "world ! x/a tcp 81",
            ]),
        Row(
            "a range of ports from an address block",
            [
                (
                    "x",
                    [
                        "podSelector": a,
                        "ingress": [
                            [
                                "from": [
                                    ["ipBlock": ["cidr": "203.0.113.0/24"]], ["ipBlock": ["cidr": "fd00:9::/32"]],
                                ],
                                "ports": [["port": 81, "endPort": 8080]],
                            ]
                        ],
                    ]
                )
            ],
            ["world > x/a tcp 81", "world > x/a tcp 8080", "world ! x/a tcp 80", "x/b ! x/a tcp 81"]),
        Row(
            "a rule about SCTP alone isolates, and is no rule about TCP",
            [("x", ["podSelector": a, "ingress": [["ports": [["protocol": "SCTP", "port": 80]]]]])],
            ["x/b ! x/a tcp 80", "x/b ! x/a udp 80"]),
        Row(
            "a rule about UDP alone is no rule about TCP",
            [("x", ["podSelector": a, "ingress": [["ports": [["protocol": "UDP", "port": 80]]]]])],
            ["x/b > x/a udp 80", "x/b ! x/a tcp 80"]),
        // The pod itself
        Row(
            "a pod always reaches itself and its node",
            [("x", ["podSelector": [:], "policyTypes": ["Ingress", "Egress"]])],
            ["x/a > x/a", "node > x/a", "node > x/a ping"]),
    ]

    /// One for all rows, which leave nothing in it.
    private static let lab = Result { () throws -> PolicyLab in
        let lab = try PolicyLab()
        lab.populate()
        return lab
    }

    @Test("each row", arguments: rows)
    func row(_ row: Row) throws {
        let lab = try Self.lab.get()
        defer { for index in row.policies.indices { lab.forget(row.policies[index].0, "policy-\(index)") } }
        for (index, policy) in row.policies.enumerated() {
            lab.policy.set(PolicyLab.spec(policy.0, "policy-\(index)", policy.1))
        }
        try lab.policy.sync()
        // All questions of a place at once: those that are dropped wait side by side.
        var bySource: [String: [(line: String, isAllowed: Bool, questions: [String])]] = [:]
        for line in row.expected {
            let words = line.split(separator: " ").map(String.init)
            let target = try PolicyLab.place(words[2])
            let (proto, port) = (words.count > 3 ? words[3] : "tcp", words.count > 4 ? words[4] : "80")
            bySource[words[0], default: []].append(
                (line, words[1] == ">", ["\(proto) \(target.v4) \(port)", "\(proto) \(target.v6) \(port)"]))
        }
        for (place, lines) in bySource {
            let answers = try lab.ask(place, lines.flatMap(\.questions))
            try #require(answers.count == lines.count * 2)
            for (index, line) in lines.enumerated() {
                let got = Array(answers[index * 2..<index * 2 + 2])
                let wanted = line.isAllowed ? ["yes", "yes"] : ["no", "no"]
                #expect(got == wanted, "\(line.line), over IPv4 and IPv6")
            }
        }
    }
}
