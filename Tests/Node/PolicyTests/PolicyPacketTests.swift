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
}
