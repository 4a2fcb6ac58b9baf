import Bytes
import ClusterAPI
import JSON
import Netlink
import TestSupport
import Testing

@testable import Policy

@Suite("What policies do to packets", .serialized, .ownThreads)
struct PolicyPacketTests {
    @Test("without a policy everybody speaks with everybody; one that selects a pod leaves it only what it allows")
    func podSelector() throws {
        let lab = try PolicyLab()
        lab.populate()
        try lab.policy.sync()
        #expect(try lab.passes("x/b", "x/a"))
        #expect(try lab.passes("y/a", "x/a"))
        try lab.apply(
            "x", "only-b",
            [
                "podSelector": ["matchLabels": ["pod": "a"]],
                "ingress": [["from": [["podSelector": ["matchLabels": ["pod": "b"]]]]]],
            ])
        // Old versions of nft abort when they list what they cannot write.
        #expect(try lab.run("node", "nft list ruleset").contains("map @ingress-v4"))
        #expect(try lab.passes("x/b", "x/a"))
        #expect(try !lab.passes("x/c", "x/a"))
        #expect(try !lab.passes("y/b", "x/a"), "of another namespace")
        #expect(try !lab.passes("world", "x/a"))
        #expect(try lab.passes("node", "x/a"), "probes")
        // Nobody else is concerned, nor what the isolated pod asks itself.
        #expect(try lab.passes("x/c", "x/b"))
        #expect(try lab.passes("x/a", "x/c"))
        try lab.remove("x", "only-b")
        #expect(try lab.passes("x/c", "x/a"))
    }

    private static let onlyB: JSONValue = [
        "podSelector": ["matchLabels": ["pod": "a"]],
        "ingress": [["from": [["podSelector": ["matchLabels": ["pod": "b"]]]]]],
    ]

    /// Keeps one connection open and says at each line of input whether it still carries an answer.
    private static let talker = """
        import socket, sys
        s = socket.create_connection((sys.argv[1], 80), 5)
        for line in sys.stdin:
            s.settimeout(0.7)
            try: s.sendall(b"x"); print("yes" if s.recv(64) else "closed", flush=True)
            except OSError: print("no", flush=True)
        """

    @Test("a connection that is open is cut by a policy at once, in both directions, and goes on when the policy goes")
    func cut() throws {
        let lab = try PolicyLab()
        lab.populate()
        try lab.policy.sync()
        for target in [try PolicyLab.place("x/a").v4, try PolicyLab.place("x/a").v6] {
            let stranger = try lab.talk("y/a", Self.talker, target)
            let friend = try lab.talk("x/b", Self.talker, target)
            #expect(try stranger.answer() == "yes")
            #expect(try friend.answer() == "yes")
            try lab.apply("x", "only-b", Self.onlyB)
            #expect(try stranger.answer() == "no")
            #expect(try friend.answer() == "yes")
            try lab.remove("x", "only-b")
            // TCP has sent it again by then, or does.
            #expect(try stranger.eventually("yes"))
        }
    }

    @Test("a connection that was judged is not judged again, until something changes that may forbid it")
    func marked() throws {
        let lab = try PolicyLab()
        lab.populate()
        try lab.apply("x", "only-b", Self.onlyB)
        #expect(try lab.policy.markJudged() == 2)
        func judged() throws -> UInt64 {
            let report = try #require(try PolicyKernelReport(namespace: lab.node.descriptor))
            return report.verdicts.map(\.allowed).reduce(0, +)
        }
        for target in [try PolicyLab.place("x/a").v4, try PolicyLab.place("x/a").v6] {
            let friend = try lab.talk("x/b", Self.talker, target)
            #expect(try friend.answer() == "yes")
            let before = try judged()
            for _ in 0..<3 { #expect(try friend.answer() == "yes") }
            #expect(try judged() == before)
            // What only allows more leaves the mark in force; what forbids takes it away, and the connection with it.
            lab.policy.setNamespace("z", labels: ["team": "red"])
            try lab.apply("x", "nobody", ["podSelector": ["matchLabels": ["pod": "a"]], "policyTypes": ["Egress"]])
            #expect(!lab.policy.marksJudged)
            #expect(try friend.answer() == "yes")
            #expect(try judged() > before)
            try lab.remove("x", "only-b")
            try lab.apply("x", "deny", ["podSelector": ["matchLabels": ["pod": "a"]]])
            try lab.policy.markJudged()
            #expect(try friend.answer() == "no")
            try lab.remove("x", "deny")
            try lab.remove("x", "nobody")
            try lab.apply("x", "only-b", Self.onlyB)
            try lab.policy.markJudged()
            #expect(try friend.eventually("yes"))
        }
    }

    @Test("a new connection on a way that passed is not judged, until something changes that may forbid it")
    func sameWay() throws {
        let lab = try PolicyLab()
        lab.populate()
        try lab.apply("x", "only-b", Self.onlyB)
        try lab.policy.markJudged()
        func judged() throws -> UInt64 {
            let report = try #require(try PolicyKernelReport(namespace: lab.node.descriptor))
            return report.verdicts.map { $0.allowed + $0.denied }.reduce(0, +)
        }
        for family in [IPAddress.Family.v4, .v6] {
            let place = try PolicyLab.place("x/a")
            let target = family == .v4 ? place.v4 : place.v6
            func connect() throws -> Bool { try lab.talk("x/b", Self.talker, target).answer() == "yes" }
            #expect(try connect())
            let before = try judged()
            for _ in 0..<3 { #expect(try connect()) }
            #expect(try judged() == before)
            // nft can read what the kernel wrote.
            let listed = try lab.run("node", "nft list set inet weft-policy \(PolicyTable.passedName(family))")
            #expect(listed.contains("\(target)"))

            try lab.apply("x", "deny", ["podSelector": ["matchLabels": ["pod": "b"]], "policyTypes": ["Egress"]])
            #expect(try !connect())
            // What passed before the change is forgotten where connections are marked anew.
            try lab.policy.markJudged()
            #expect(try !connect())
            try lab.remove("x", "deny")
            #expect(try connect())
            try lab.policy.markJudged()
        }
    }

    @Test("a mark of somebody else stays, and its connection is judged packet by packet")
    func foreignMark() throws {
        let lab = try PolicyLab()
        lab.populate()
        try lab.apply("x", "only-b", Self.onlyB)
        try lab.policy.markJudged()
        try lab.run(
            "node",
            "nft 'add table inet other; add chain inet other f { type filter hook forward priority -10; }; add rule inet other f ct mark 0 ct mark set 0x42'"
        )
        let friend = try lab.talk("x/b", Self.talker, try PolicyLab.place("x/a").v4)
        #expect(try friend.answer() == "yes")
        let marks = try lab.run("node", "conntrack -L -p tcp 2>/dev/null")
        #expect(marks.contains("mark=66"))
        try lab.remove("x", "only-b")
        try lab.apply("x", "deny", ["podSelector": ["matchLabels": ["pod": "a"]]])
        #expect(try friend.answer() == "no")
    }

    @Test("labels of pods and of namespaces count from the moment that they change")
    func labels() throws {
        let lab = try PolicyLab()
        lab.populate()
        try lab.apply(
            "x", "teams",
            [
                "podSelector": ["matchLabels": ["pod": "a"]],
                "ingress": [
                    ["from": [["podSelector": ["matchLabels": ["team": "red"]]]]],
                    ["from": [["namespaceSelector": ["matchLabels": ["team": "red"]]]]],
                ],
            ])
        #expect(try !lab.passes("x/b", "x/a"))
        #expect(try !lab.passes("y/a", "x/a"))
        lab.policy.set(PolicyLab.pod(try PolicyLab.place("x/b"), labels: ["team": "red"]))
        #expect(try lab.policy.sync() > 0)
        #expect(try lab.passes("x/b", "x/a"))
        lab.policy.setNamespace("y", labels: ["team": "red"])
        try lab.policy.sync()
        #expect(try lab.passes("y/a", "x/a"))
        lab.policy.setNamespace("y", labels: ["team": "blue"])
        lab.policy.set(PolicyLab.pod(try PolicyLab.place("x/b"), labels: ["team": "blue"]))
        try lab.policy.sync()
        #expect(try !lab.passes("x/b", "x/a"))
        #expect(try !lab.passes("y/a", "x/a"))
        // The selected pod's own label sets it free.
        lab.policy.set(PolicyLab.pod(try PolicyLab.place("x/a"), labels: ["pod": "other"]))
        try lab.policy.sync()
        #expect(try lab.passes("y/a", "x/a"))
    }

    @Test("a pod that is attached and not known may nothing, but be probed by its node; once known, what policies say")
    func unknown() throws {
        let lab = try PolicyLab()
        lab.populate()
        let (key, place) = (ObjectKey(namespace: "x", name: "a"), try PolicyLab.place("x/a"))
        lab.policy.removePod(key)
        lab.policy.attach(key, [address(place.v4), address(place.v6)])
        try lab.policy.sync()
        #expect(try !lab.passes("x/b", "x/a"))
        #expect(try !lab.passes("x/a", "x/b"))
        #expect(try lab.passes("node", "x/a"))
        lab.policy.set(PolicyLab.pod(place))
        try lab.policy.sync()
        #expect(try lab.passes("x/b", "x/a"))
        #expect(try lab.passes("x/a", "x/b"))
        // What the pod network took back means nothing any more, though the object still tells of it.
        try lab.apply("x", "deny", ["podSelector": [:]])
        #expect(try !lab.passes("x/b", "x/a"))
        lab.policy.detach(key, [address(place.v4), address(place.v6)])
        try lab.policy.sync()
        #expect(try lab.passes("y/b", "x/a"))
    }

    @Test("a pod that is over has no say: its address is whoever's comes next")
    func over() throws {
        var object = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "x", name: "job")
        object.spec = ["nodeName": .string(PolicyLab.node)]
        object.status = [
            "phase": "Running", "podIP": "10.244.1.9", "podIPs": [["ip": "10.244.1.9"], ["ip": "fd00:1::9"]],
        ]
        #expect(PolicyPod(object)?.addresses.count == 2)
        for phase in ["Succeeded", "Failed"] {
            object.status["phase"] = .string(phase)
            #expect(PolicyPod(object) == nil)
        }
        object.status["phase"] = "Running"
        object.spec["hostNetwork"] = true
        #expect(PolicyPod(object) == nil)
    }

    @Test("what is not allowed is refused at once where that is wanted")
    func rejected() throws {
        let lab = try PolicyLab(rejects: true)
        lab.populate()
        try lab.apply("x", "deny", ["podSelector": [:]])
        let place = try PolicyLab.place("x/a")
        #expect(try lab.ask("y/a", ["tcp \(place.v4) 80", "udp \(place.v4) 80"]) == ["refused", "refused"])
    }

    @Test("a restart finds everything right and writes nothing; what a foreign hand took is written again")
    func restart() throws {
        let lab = try PolicyLab()
        func feed() throws {
            lab.populate()
            lab.policy.set(PolicyLab.spec("x", "only-b", Self.onlyB))
            lab.policy.set(
                PolicyLab.spec(
                    "x", "blocks",
                    [
                        "podSelector": [:],
                        "ingress": [
                            [
                                "from": [["ipBlock": ["cidr": "203.0.0.0/8", "except": ["203.0.112.0/24"]]]],
                                "ports": [["port": 80, "endPort": 99], ["port": 90, "endPort": 200]],
                            ]
                        ],
                    ]))
        }
        try feed()
        #expect(try lab.policy.sync() > 10)
        try lab.policy.markJudged()
        try lab.restart()
        try feed()
        #expect(try lab.policy.sync() == 0)
        #expect(lab.policy.marksJudged)
        #expect(try lab.passes("x/b", "x/a"))
        #expect(try !lab.passes("x/c", "x/a"))
        // Owned, so that only the owner's end lets somebody in.
        #expect(throws: PolicyLab.Failure.self) { try lab.run("node", "nft delete table inet weft-policy") }
        try lab.run("node", "nft flush ruleset")
        #expect(try !lab.passes("x/c", "x/a"))
    }

    @Test("who was refused is remembered and counted, with its protocol and port")
    func denied() throws {
        let lab = try PolicyLab()
        lab.populate()
        try lab.apply("x", "deny", ["podSelector": [:]])
        #expect(try !lab.passes("y/a", "x/a", "tcp 81"))
        #expect(try !lab.passes("y/a", "x/b", "udp 80"))
        let report = try #require(try PolicyKernelReport(namespace: lab.node.descriptor))
        let told = Set(report.denied.map { "\($0.client) \($0.server) \($0.transport) \($0.port)" })
        #expect(
            told == [
                "10.244.1.12 10.244.1.2 6 81", "fd00:1::12 fd00:1::2 6 81", "10.244.1.12 10.244.1.3 17 80",
                "fd00:1::12 fd00:1::3 17 80",
            ])
        #expect(
            report.verdicts.first { $0.direction == .ingress && $0.family == "IPv4" }.map { $0.denied >= 2 } == true)
    }
}
