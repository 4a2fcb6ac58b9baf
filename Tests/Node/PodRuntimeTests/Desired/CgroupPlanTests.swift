import JSON
import Testing

@testable import PodRuntime

@Suite("what a pod may take of its node")
struct CgroupPlanTests {
    private func spec(_ resources: [JSONValue], _ fields: JSONValue = [:]) throws -> PodSpec {
        let containers = resources.enumerated().map { PodFixture.container("c\($0.offset)", ["resources": $0.element]) }
        return try PodFixture.spec(containers: containers, spec: fields)
    }

    @Test("the class of service follows requests and limits of all containers")
    func classes() throws {
        let full: JSONValue = ["limits": ["cpu": "1", "memory": "1Gi"]]
        let less: JSONValue = ["limits": ["cpu": "1", "memory": "1Gi"], "requests": ["cpu": "500m"]]
        #expect(try spec([full]).qualityOfService == .guaranteed)
        #expect(try spec([full, full]).qualityOfService == .guaranteed)
        #expect(try spec([full, [:]]).qualityOfService == .burstable)
        #expect(try spec([["limits": ["cpu": "1"]]]).qualityOfService == .burstable)
        #expect(try spec([less]).qualityOfService == .burstable)
        #expect(try spec([[:]]).qualityOfService == .bestEffort)
        #expect(try spec([["requests": ["cpu": "0"]]]).qualityOfService == .bestEffort)
    }

    @Test("cgroups stand where the kubelet puts them")
    func paths() throws {
        let full: JSONValue = ["limits": ["cpu": "1", "memory": "1Gi"]]
        #expect(CgroupPlan.podPath(try spec([[:]])) == "/kubepods/besteffort/pod0f0e")
        #expect(CgroupPlan.podPath(try spec([["requests": ["cpu": "1"]]])) == "/kubepods/burstable/pod0f0e")
        #expect(CgroupPlan.podPath(try spec([full]), root: "/n1") == "/n1/kubepods/pod0f0e")
    }

    @Test("shares and quotas are bounded as the kernel wants them")
    func arithmetic() {
        let shares = [0, 1, 2, 100, 1000, 250_000_000].map { CgroupPlan.shares(milliCPU: $0) }
        #expect(shares == [2, 2, 2, 102, 1024, 262_144])
        #expect([nil, 0, 5, 500, 2000].map { CgroupPlan.quota(milliCPU: $0) } == [nil, nil, 1000, 50_000, 200_000])
        #expect((2...262_144).contains(CgroupPlan.shares(milliCPU: .max)))
    }

    @Test("who is killed first when memory runs out")
    func oomScores() throws {
        func score(_ resources: JSONValue, _ fields: JSONValue = [:]) throws -> Int64 {
            let pod = try spec([resources], fields)
            return CgroupPlan.oomScoreAdjust(pod, pod.containers[0], nodeMemory: 8 << 30)
        }
        #expect(try score([:]) == 1000)
        #expect(try score(["limits": ["cpu": "1", "memory": "1Gi"]]) == -997)
        #expect(try score(["requests": ["memory": "2Gi"]]) == 750)
        #expect(try score(["requests": ["memory": "1Ki"]]) == 999)
        #expect(try score(["requests": ["memory": "100Gi"]]) == 3)
        #expect(try score([:], ["priorityClassName": "system-node-critical"]) == -997)
    }

    @Test("capabilities are the usual ones, changed by what is added and dropped")
    func capabilities() {
        func result(_ json: JSONValue) -> [String] { OCIConfig.capabilities(ContainerSecurity(json: json)) }
        #expect(result([:]).count == 14)
        #expect(result(["capabilities": ["drop": ["ALL"]]]) == [])
        #expect(result(["capabilities": ["drop": ["ALL"], "add": ["NET_BIND_SERVICE"]]]) == ["NET_BIND_SERVICE"])
        #expect(result(["capabilities": ["add": ["CAP_NET_ADMIN"]]]).contains("NET_ADMIN"))
        #expect(!result(["capabilities": ["drop": ["net_raw"]]]).contains("NET_RAW"))
        #expect(result(["privileged": true]).contains("SYS_ADMIN"))
        let allButOne = result(["capabilities": ["add": ["ALL"], "drop": ["SYS_TIME"]]])
        #expect(allButOne.contains("SYS_ADMIN") && !allButOne.contains("SYS_TIME"))
    }

    @Test(
        "images that this node has, does not have, and cannot have",
        arguments: [
            ("weft.local/host", "IfNotPresent", "present"), ("weft.local/host:latest", "Always", "present"),
            ("weft.local/hosts", "IfNotPresent", "ErrImagePull"),
            ("registry.example/a/b:1@sha256:00", "Always", "ErrImagePull"),
            ("nginx", "Never", "ErrImageNeverPull"), ("", "Always", "InvalidImageName"),
            ("NGINX", "Always", "InvalidImageName"),
            ("ng inx", "Always", "InvalidImageName"),
        ])
    func images(image: String, policy: String, verdict: String) throws {
        let fields: JSONValue = ["image": .string(image), "imagePullPolicy": .string(policy)]
        let pod = try PodFixture.spec(containers: [PodFixture.container("m", fields)])
        switch ImageVerdict(pod.containers[0]) {
        case .present: #expect(verdict == "present")
        case .absent(let reason, let message):
            #expect(verdict == reason)
            #expect(!message.isEmpty)
        }
    }
}
