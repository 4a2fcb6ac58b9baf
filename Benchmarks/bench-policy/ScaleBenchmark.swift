import Bytes
import ClusterAPI
import Glibc
import JSON
import Netlink
import Policy
import Reactor

/// What policies of a whole cluster cost one node: from the API's bytes to the kernel's acknowledgement, and then one change each.
struct ScaleBenchmark {
    var pods: Int
    var policies: Int
    var local: Int

    /// Pods of two neighbouring workloads: one that has a pod here, and one that its policies let in.
    private static let subject = 90, peer = 95

    func run() throws {
        let load = PolicyLoad(pods: pods, policies: policies, local: local)
        let bytes = (load.namespaces + load.policies + load.pods).map { $0.json.encodedString() }
        let namespace = try NamespaceHandle.create()
        print(
            "\(pods) pods (\(local) here), \(policies) policies, two address families, \(bytes.reduce(0) { $0 + $1.utf8.count } / 1024) KiB of JSON"
        )

        let (decode, objects) = try Self.timed { try bytes.map { KubeObject(json: try JSONValue.parse($0)) } }
        var policy = try NodePolicy(node: PolicyLoad.node, namespace: namespace.descriptor)
        let (full, writes) = try Self.timed {
            Self.feed(objects, to: policy)
            return try policy.sync()
        }
        Self.row("decoding all of it", decode)
        Self.row(
            "full load, from objects to the kernel", full,
            "\(writes) elements, \(policy.profileCount) profiles, \(policy.identityCount) identities")

        // One pod more, of a kind that is there, elsewhere and here; and of a kind that is new.
        var number = pods
        try series("a pod comes on another node") {
            number += PolicyLoad.podsPerWorkload
            return Self.arrival(Self.peer, renamed: number, local: false)
        } apply: {
            policy.set($0)
        } sync: {
            try policy.sync()
        }
        try series("a pod comes on this node") {
            number += PolicyLoad.podsPerWorkload
            return Self.arrival(Self.subject, renamed: number, local: true)
        } apply: {
            policy.attach($0.key, $0.addresses)
            policy.set($0)
        } sync: {
            try policy.sync()
        }
        try series("a pod of a new kind comes on another node") {
            number += PolicyLoad.podsPerWorkload
            var pod = Self.arrival(Self.peer, renamed: number, local: false)
            pod.labels["version"] = "new-\(number)"
            return pod
        } apply: {
            policy.set($0)
        } sync: {
            try policy.sync()
        }
        let victims = load.pods.compactMap { PolicyPod($0) }
        var turn = 0
        try series("a pod's label changes") {
            turn += 1
            var pod = victims[turn * 7 % victims.count]
            pod.labels["app"] = "app-\(turn % PolicyLoad.workloadsPerNamespace)"
            return pod
        } apply: {
            policy.set($0)
        } sync: {
            try policy.sync()
        }
        try series("a namespace's label changes") { () -> Int in
            turn += 1
            return turn
        } apply: { turn in
            policy.setNamespace(
                "ns-\(turn % load.namespaces.count)",
                labels: ["tier": turn / load.namespaces.count % 2 == 0 ? "platform" : "apps"])
        } sync: {
            try policy.sync()
        }
        let specs = load.policies.map { NetworkPolicySpec($0) }
        try series("a policy goes, or comes back") { () -> Int in
            turn += 1
            return turn
        } apply: { turn in
            let spec = specs[turn / 2 % specs.count]
            if turn % 2 == 0 { policy.removePolicy(spec.key) } else { policy.set(spec) }
        } sync: {
            try policy.sync()
        }

        // The same cluster, after the daemon's end.
        let again = try NamespaceHandle.create()
        policy = try NodePolicy(node: PolicyLoad.node, namespace: again.descriptor)
        Self.feed(objects, to: policy)
        try policy.sync()
        policy = try NodePolicy(node: "", tableName: "none", owning: false, namespace: again.descriptor)
        policy = try NodePolicy(node: PolicyLoad.node, namespace: again.descriptor)
        let (restart, rewritten) = try Self.timed {
            Self.feed(objects, to: policy)
            return try policy.sync()
        }
        Self.row("restart onto a table that stands", restart, "\(rewritten) writes")
    }

    private static func feed(_ objects: [KubeObject], to policy: NodePolicy) {
        for object in objects {
            switch object.kind {
            case "Namespace": policy.setNamespace(object.name, labels: object.labels)
            case "NetworkPolicy": policy.set(NetworkPolicySpec(object))
            default: if let pod = PolicyPod(object) { policy.set(pod) }
            }
        }
    }

    /// Another pod of the same workload.
    private static func arrival(_ model: Int, renamed number: Int, local: Bool) -> PolicyPod {
        var object = PolicyLoad.pod(model, local: local)
        object.name = "late-\(number)"
        let address = IPAddress(v4: 0x0ACA_0000 + UInt32(number))
        let other = IPAddress(v6: 0xFD01_0000_0000_0000, UInt64(number))
        object.status = [
            "phase": "Running", "podIPs": [["ip": .string("\(address)")], ["ip": .string("\(other)")]],
        ]
        guard let pod = PolicyPod(object) else { fatalError("a pod on the node's network") }
        return pod
    }

    private func series<Value>(
        _ name: String, count: Int = 400, make: () -> Value, apply: (Value) -> Void, sync: () throws -> Int
    ) throws {
        var times: [Double] = []
        var writes = 0
        for _ in 0..<count {
            let value = make()
            let (took, written) = try Self.timed {
                apply(value)
                return try sync()
            }
            times.append(took)
            writes += written
        }
        times.sort()
        let mean = Double(writes) / Double(count)
        Self.row(
            name, times[count / 2],
            "p99 \(Self.text(times[count * 99 / 100])) ms, \(Self.text(mean)) element operations")
    }

    private static func timed<Value>(_ body: () throws -> Value) rethrows -> (Double, Value) {
        let start = MonotonicTime.now()
        let value = try body()
        let took = MonotonicTime.now().duration(since: start)
        return (Double(took.components.seconds) * 1000 + Double(took.components.attoseconds) / 1e15, value)
    }

    private static func row(_ name: String, _ milliseconds: Double, _ rest: String = "") {
        let title = "  " + name + String(repeating: " ", count: max(1, 46 - name.count))
        let time = text(milliseconds)
        print(title + String(repeating: " ", count: max(1, 9 - time.count)) + time + " ms   " + rest)
    }

    static func text(_ number: Double) -> String {
        let scaled = Int((number * 1000).rounded())
        let rest = "\(scaled % 1000)"
        return "\(scaled / 1000)." + String(repeating: "0", count: 3 - rest.count) + rest
    }
}
