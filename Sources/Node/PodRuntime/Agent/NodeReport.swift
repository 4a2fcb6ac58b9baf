import Bytes
import ClusterAPI
import JSON

/// The Node object of this node as values: what it is created with, and what its status says. Pure.
public struct NodeReport: Sendable {
    public var name: String
    public var addresses: [String]
    public var machine: Machine
    public var maximumPods: Int64 = 110
    /// Port of the node's own server.
    public var port: UInt16 = 10250
    public var version: String
    /// Labels beyond those that every node has.
    public var labels: [String: String] = [:]

    public init(name: String, addresses: [String], machine: Machine, version: String) {
        self.name = name
        self.addresses = addresses
        self.machine = machine
        self.version = version
    }

    /// The object that registers the node.
    public var registration: KubeObject {
        var node = KubeObject(apiVersion: "v1", kind: "Node", name: name)
        var all = labels
        for prefix in ["kubernetes.io", "beta.kubernetes.io"] {
            all["\(prefix)/os"] = "linux"
            all["\(prefix)/arch"] = machine.architecture
        }
        all["kubernetes.io/hostname"] = name
        node.json["metadata"]?["labels"] = .object(
            JSONObject(all.map { (key: $0.key, value: JSONValue.string($0.value)) }))
        node.json["spec"] = [:]
        return node
    }

    /// The status to merge into the Node (strategic merge patch).
    ///
    /// - Parameters:
    ///   - unready: why pods cannot be run now; nil when they can.
    ///   - previous: the node's present status, for transition times.
    public func status(unready: String?, previous: JSONValue?, now: Timestamp) -> JSONValue {
        let amounts: JSONValue = [
            "cpu": .string(String(machine.cpus)), "memory": .string("\(machine.memory / 1024)Ki"),
            "ephemeral-storage": .string("\(machine.storage / 1024)Ki"), "pods": .string(String(maximumPods)),
            "hugepages-1Gi": "0", "hugepages-2Mi": "0",
        ]
        var list: [JSONValue] = addresses.map { ["type": "InternalIP", "address": .string($0)] }
        list.append(["type": "Hostname", "address": .string(name)])
        return [
            "capacity": amounts, "allocatable": amounts, "addresses": .array(list),
            "conditions": .array([
                condition(
                    "MemoryPressure", false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available",
                    previous, now),
                condition(
                    "DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure", previous, now),
                condition(
                    "PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available", previous,
                    now),
                condition(
                    "Ready", unready == nil, unready == nil ? "KubeletReady" : "KubeletNotReady",
                    unready.map {
                        "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:\($0)"
                    }
                        ?? "kubelet is posting ready status", previous, now),
            ]),
            "daemonEndpoints": ["kubeletEndpoint": ["Port": .int(Int64(port))]],
            "images": [["names": [.string(HostImage.name)], "sizeBytes": 0]],
            "nodeInfo": [
                "machineID": .string(machine.machineID), "systemUUID": .string(machine.systemUUID),
                "bootID": .string(machine.bootID), "kernelVersion": .string(machine.kernel),
                "osImage": .string(machine.osImage), "containerRuntimeVersion": .string(machine.runtimeVersion),
                "kubeletVersion": .string(version), "kubeProxyVersion": .string(version), "operatingSystem": "linux",
                "architecture": .string(machine.architecture),
            ],
        ]
    }

    private func condition(
        _ type: String, _ holds: Bool, _ reason: String, _ message: String, _ previous: JSONValue?, _ now: Timestamp
    ) -> JSONValue {
        let status = holds ? "True" : "False"
        let old = previous?["conditions"].elements.first { $0["type"]?.string == type }
        let since = old?["status"]?.string == status ? old?["lastTransitionTime"]?.string : nil
        return [
            "type": .string(type), "status": .string(status), "reason": .string(reason), "message": .string(message),
            "lastHeartbeatTime": .string(now.rfc3339), "lastTransitionTime": .string(since ?? now.rfc3339),
        ]
    }

    /// Whether two statuses say the same but for the time at which they say it.
    static func isSame(_ a: JSONValue, _ b: JSONValue) -> Bool { withoutHeartbeat(a) == withoutHeartbeat(b) }

    private static func withoutHeartbeat(_ status: JSONValue) -> JSONValue {
        var status = status
        status["conditions"] = .array(
            status["conditions"].elements.map { condition in
                var condition = condition
                condition["lastHeartbeatTime"] = nil
                return condition
            })
        return status
    }
}
