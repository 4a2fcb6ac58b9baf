import Bytes
import JSON
import Testing

@testable import ClusterAPI
@testable import Controllers

/// A cluster in which pods become available some steps after they were wanted.
private struct RolloutModel {
    var sets: [RolloutPlan.Set]
    var bounds: RolloutPlan.Bounds

    var total: Int { sets.reduce(0) { $0 + $1.wanted } }
    var available: Int { sets.reduce(0) { $0 + $1.available } }

    mutating func apply(_ plan: RolloutPlan) {
        for i in sets.indices {
            guard let wanted = plan.scale[sets[i].name] else { continue }
            sets[i].wanted = wanted
            sets[i].available = min(sets[i].available, wanted)
            sets[i].running = min(sets[i].running, wanted)
            sets[i].desired = bounds.replicas
            sets[i].maxReplicas = bounds.replicas + bounds.maxSurge
        }
    }

    /// Some wanted pods become ready.
    mutating func advance(using generator: inout SplitMix64) {
        for i in sets.indices where sets[i].available < sets[i].wanted {
            sets[i].running = sets[i].wanted
            sets[i].available += Int.random(in: 0...(sets[i].wanted - sets[i].available), using: &generator)
        }
    }
}

@Suite("Rolling update")
struct RolloutPlanTests {
    @Test(
        "surge rounds up, unavailability down, and both zero leave one unavailable",
        arguments: [
            (10, "25%", "25%", 3, 2), (4, "25%", "25%", 1, 1), (1, "25%", "25%", 1, 0), (10, "0%", "0%", 0, 1),
            (3, "100%", "0", 3, 0), (0, "25%", "25%", 0, 1),
        ])
    func bounds(replicas: Int, surge: String, unavailable: String, maxSurge: Int, maxUnavailable: Int) {
        var deployment = KubeObject(apiVersion: "apps/v1", kind: "Deployment")
        func value(_ text: String) -> JSONValue { Int64(text).map { .int($0) } ?? .string(text) }
        deployment.spec = [
            "replicas": .int(Int64(replicas)),
            "strategy": [
                "type": "RollingUpdate",
                "rollingUpdate": ["maxSurge": value(surge), "maxUnavailable": value(unavailable)],
            ],
        ]
        #expect(
            RolloutPlan.Bounds(deployment)
                == RolloutPlan.Bounds(replicas: replicas, maxSurge: maxSurge, maxUnavailable: maxUnavailable))
    }

    @Test("the new set grows into the surge before the old ones shrink")
    func growsFirst() {
        let bounds = RolloutPlan.Bounds(replicas: 4, maxSurge: 1, maxUnavailable: 1)
        let old = RolloutPlan.Set(name: "old", wanted: 4, running: 4, available: 4, created: "1")
        var new = RolloutPlan.Set(name: "new", wanted: 0, running: 0, available: 0, created: "2")
        #expect(RolloutPlan.rolling(new: new, old: [old], bounds).scale == ["new": 1])
        new.wanted = 1
        #expect(RolloutPlan.rolling(new: new, old: [old], bounds).scale == ["old": 3])
    }

    @Test("old pods that serve nobody go first, whatever the availability")
    func unhealthyFirst() {
        let bounds = RolloutPlan.Bounds(replicas: 4, maxSurge: 1, maxUnavailable: 1)
        let sick = RolloutPlan.Set(name: "sick", wanted: 2, running: 2, available: 0, created: "1")
        let old = RolloutPlan.Set(name: "old", wanted: 2, running: 2, available: 2, created: "2")
        let new = RolloutPlan.Set(name: "new", wanted: 1, running: 1, available: 0, created: "3")
        #expect(RolloutPlan.rolling(new: new, old: [old, sick], bounds).scale == ["sick": 1])
    }

    @Test("recreate waits for the last old pod")
    func recreate() {
        var old = RolloutPlan.Set(name: "old", wanted: 3, running: 3, available: 3, created: "1")
        let new = RolloutPlan.Set(name: "new", wanted: 0, running: 0, available: 0, created: "2")
        #expect(RolloutPlan.recreate(new: new, old: [old], replicas: 3).scale == ["old": 0])
        old.wanted = 0
        #expect(RolloutPlan.recreate(new: new, old: [old], replicas: 3).scale == [:])
        old.running = 0
        #expect(RolloutPlan.recreate(new: new, old: [old], replicas: 3).scale == ["new": 3])
    }

    @Test("a resize in the middle is shared in proportion, and the largest takes what rounding leaves")
    func proportional() {
        let bounds = RolloutPlan.Bounds(replicas: 20, maxSurge: 0, maxUnavailable: 5)
        let old = RolloutPlan.Set(
            name: "old", wanted: 7, running: 7, available: 7, created: "1", desired: 10, maxReplicas: 10)
        let new = RolloutPlan.Set(
            name: "new", wanted: 3, running: 3, available: 3, created: "2", desired: 10, maxReplicas: 10)
        #expect(RolloutPlan.resize(new: new, old: [old], bounds)?.scale == ["old": 14, "new": 6])
    }

    @Test("a resize is seen once: a set that keeps its size notes the new number too")
    func resizeOnce() throws {
        let bounds = RolloutPlan.Bounds(replicas: 11, maxSurge: 1, maxUnavailable: 1)
        var model = RolloutModel(
            sets: [
                .init(name: "old", wanted: 10, running: 10, available: 10, created: "1", desired: 10, maxReplicas: 11),
                .init(name: "new", wanted: 1, running: 1, available: 1, created: "2", desired: 10, maxReplicas: 11),
            ], bounds: bounds)
        model.apply(try #require(RolloutPlan.resize(new: model.sets[1], old: [model.sets[0]], bounds)))
        #expect(model.total == 12)
        #expect(RolloutPlan.resize(new: model.sets[1], old: [model.sets[0]], bounds) == nil)
    }

    @Test("nothing is resized when only the surge changed")
    func surgeOnly() {
        let bounds = RolloutPlan.Bounds(replicas: 10, maxSurge: 5, maxUnavailable: 1)
        let old = RolloutPlan.Set(
            name: "old", wanted: 9, running: 9, available: 9, created: "1", desired: 10, maxReplicas: 11)
        let new = RolloutPlan.Set(
            name: "new", wanted: 2, running: 2, available: 2, created: "2", desired: 10, maxReplicas: 11)
        #expect(RolloutPlan.resize(new: new, old: [old], bounds) == nil)
    }

    @Test("every rollout ends, within its bounds all the way, also when it is resized on the way", arguments: 0..<200)
    func simulation(seed: Int) {
        var generator = SplitMix64(seed: UInt64(seed))
        let replicas = Int.random(in: 1...30, using: &generator)
        var surge = Int.random(in: 0...10, using: &generator)
        let unavailable = Int.random(in: 0...min(10, replicas), using: &generator)
        if surge == 0, unavailable == 0 { surge = 1 }
        var model = RolloutModel(
            sets: (0..<Int.random(in: 1...3, using: &generator)).map {
                .init(name: "old\($0)", wanted: 0, running: 0, available: 0, created: "\($0)")
            } + [.init(name: "new", wanted: 0, running: 0, available: 0, created: "9")],
            bounds: .init(replicas: replicas, maxSurge: surge, maxUnavailable: unavailable))
        model.sets[0].wanted = replicas
        model.sets[0].available = replicas
        model.sets[0].desired = replicas
        model.sets[0].maxReplicas = replicas + surge
        var resizesLeft = seed % 3
        for step in 0..<400 {
            let new = model.sets[model.sets.count - 1]
            let old = Array(model.sets.dropLast())
            if resizesLeft > 0, step % 5 == 4 {
                resizesLeft -= 1
                model.bounds.replicas = Int.random(in: 1...40, using: &generator)
                model.bounds.maxUnavailable = min(model.bounds.maxUnavailable, model.bounds.replicas)
                if model.bounds.maxSurge == 0, model.bounds.maxUnavailable == 0 { model.bounds.maxUnavailable = 1 }
            }
            let wasAvailable = model.available
            let resize = RolloutPlan.resize(new: new, old: old, model.bounds)
            model.apply(resize ?? RolloutPlan.rolling(new: new, old: old, model.bounds))
            let bounds = model.bounds
            #expect(model.total <= bounds.replicas + bounds.maxSurge || resize == nil, "seed \(seed) step \(step)")
            if resize == nil, model.available < wasAvailable {
                #expect(model.available >= bounds.replicas - bounds.maxUnavailable, "seed \(seed) step \(step)")
            }
            if model.sets.last?.wanted == bounds.replicas, model.total == bounds.replicas, resizesLeft == 0 { return }
            model.advance(using: &generator)
        }
        Issue.record("seed \(seed) never ended: \(model)")
    }

    @Test("a hash is stable, has no vowels, and changes with the template and with collisions")
    func hash() {
        let template: JSONValue = ["metadata": ["labels": ["a": "b"]], "spec": ["containers": [["name": "c"]]]]
        let hash = templateHash(template, collisions: 0)
        #expect(hash == templateHash(template, collisions: 0))
        #expect(hash != templateHash(template, collisions: 1))
        #expect(hash != templateHash(["spec": [:]], collisions: 0))
        #expect(hash.allSatisfy { "bcdfghjklmnpqrstvwxz2456789".contains($0) })
    }

    @Test("templates compare without what controllers add")
    func compare() {
        let template: JSONValue = ["metadata": ["labels": ["a": "b"]], "spec": ["x": 1]]
        let inSet: JSONValue = [
            "metadata": ["labels": ["a": "b", "pod-template-hash": "x"], "creationTimestamp": .null], "spec": ["x": 1],
        ]
        #expect(comparableTemplate(template) == comparableTemplate(inSet))
    }
}

@Suite("Deployment status")
struct DeploymentStatusTests {
    static func set(_ name: String, _ replicas: Int64, available: Int64) -> KubeObject {
        var set = KubeObject(apiVersion: "apps/v1", kind: "ReplicaSet", namespace: "shop", name: name)
        set.spec = ["replicas": .int(replicas)]
        set.status = [
            "replicas": .int(replicas), "readyReplicas": .int(available), "availableReplicas": .int(available),
        ]
        return set
    }

    static func deployment(_ replicas: Int64, status: JSONValue = [:], _ change: (inout JSONValue) -> Void = { _ in })
        -> KubeObject
    {
        var object = KubeObject(apiVersion: "apps/v1", kind: "Deployment", namespace: "shop", name: "web")
        object.json["metadata"]?["generation"] = 3
        object.spec = [
            "replicas": .int(replicas), "progressDeadlineSeconds": 600,
            "strategy": ["type": "RollingUpdate", "rollingUpdate": ["maxSurge": "25%", "maxUnavailable": "25%"]],
        ]
        object.status = status
        change(&object.json)
        return object
    }

    static func condition(_ status: JSONValue, _ type: String) -> [String?] {
        let condition = status["conditions"]?.array?.first { $0["type"]?.string == type }
        return [condition?["status"]?.string, condition?["reason"]?.string]
    }

    @Test("a rollout that is through says so, and stays so when a pod fails or the number changes")
    func complete() {
        let deployment = Self.deployment(4)
        let done = deploymentStatus(deployment, new: Self.set("a", 4, available: 4), old: [], failure: nil, now: noon)
        #expect(Self.condition(done, "Progressing") == ["True", "NewReplicaSetAvailable"])
        #expect(Self.condition(done, "Available") == ["True", "MinimumReplicasAvailable"])
        #expect(done["observedGeneration"] == 3)
        #expect(done["unavailableReplicas"] == nil)
        let later = Timestamp(seconds: noon.seconds + 700)
        let hurt = deploymentStatus(
            Self.deployment(4, status: done), new: Self.set("a", 4, available: 2), old: [], failure: nil, now: later)
        #expect(Self.condition(hurt, "Progressing") == ["True", "NewReplicaSetAvailable"])
        #expect(Self.condition(hurt, "Available") == ["False", "MinimumReplicasUnavailable"])
        #expect(hurt["unavailableReplicas"] == 2)
    }

    @Test("a rollout that stands still fails after its deadline, and progress starts it anew")
    func deadline() {
        let first = deploymentStatus(
            Self.deployment(2), new: Self.set("b", 1, available: 0), old: [Self.set("a", 2, available: 2)],
            failure: nil, now: noon)
        #expect(Self.condition(first, "Progressing") == ["True", "ReplicaSetUpdated"])
        let late = Timestamp(seconds: noon.seconds + 601)
        let stuck = deploymentStatus(
            Self.deployment(2, status: first), new: Self.set("b", 1, available: 0),
            old: [Self.set("a", 2, available: 2)], failure: nil, now: late)
        #expect(Self.condition(stuck, "Progressing") == ["False", "ProgressDeadlineExceeded"])
        let again = deploymentStatus(
            Self.deployment(2, status: stuck), new: Self.set("b", 1, available: 1),
            old: [Self.set("a", 2, available: 2)], failure: nil, now: late)
        #expect(Self.condition(again, "Progressing") == ["True", "ReplicaSetUpdated"])
    }

    @Test("a paused rollout is neither going on nor failing")
    func paused() {
        let deployment = Self.deployment(2) { $0["spec"]?["paused"] = true }
        let status = deploymentStatus(
            deployment, new: Self.set("b", 1, available: 0), old: [Self.set("a", 2, available: 2)], failure: nil,
            now: noon)
        #expect(Self.condition(status, "Progressing") == ["Unknown", "DeploymentPaused"])
    }

    @Test("with Recreate, every missing pod counts")
    func recreate() {
        let deployment = Self.deployment(4) { $0["spec"]?["strategy"] = ["type": "Recreate"] }
        let status = deploymentStatus(deployment, new: Self.set("a", 4, available: 3), old: [], failure: nil, now: noon)
        #expect(Self.condition(status, "Available") == ["False", "MinimumReplicasUnavailable"])
    }

    @Test("what was said already is not said again: the same facts give the same status")
    func stable() {
        let (new, old) = (Self.set("b", 1, available: 0), [Self.set("a", 2, available: 2)])
        let first = deploymentStatus(Self.deployment(2), new: new, old: old, failure: nil, now: noon)
        let later = Timestamp(seconds: noon.seconds + 60)
        let second = deploymentStatus(Self.deployment(2, status: first), new: new, old: old, failure: nil, now: later)
        #expect(second == first)
    }
}
