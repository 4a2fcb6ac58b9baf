import ClusterAPI
import JSON
import MeshAPI

/// The sidecar's container as injection adds it: a native sidecar (KEP-753), first of the init containers.
struct SidecarContainer {
    var settings: SidecarSettings
    var annotations: MeshAnnotations
    var bootstrap: SidecarBootstrap
    /// APP.NAMESPACE, as the proxy's cluster.
    var cluster: String
    /// What the proxy is there for.
    var role = ProxyIdentity.Kind.sidecar

    /// Settings by their names behind the prefix.
    static let names: Set<String> = [
        "proxyImage", "proxyCPU", "proxyCPULimit", "proxyMemory", "proxyMemoryLimit", "logLevel", "inject", "status",
        "listenersOnDemand",
    ]
    private static let levels = ["trace", "debug", "info", "warning", "error", "critical", "off"]

    /// - Throws: `AnnotationError` with the name of the one that is wrong.
    func json() throws(AnnotationError) -> JSONValue {
        var arguments = [
            "--service-node", "\(role.rawValue)~$(POD_NAME).$(POD_NAMESPACE)", "--service-cluster", cluster,
            "--concurrency", String(settings.concurrency), "--drain-time-s", String(settings.drainSeconds),
            "--drain-strategy", "immediate", "--log-level", "warning",
        ]
        if let level = annotations.sidecar("logLevel") {
            guard Self.levels.contains(level.value) else {
                throw level.expected("one of \(Self.levels.joined(separator: ", "))")
            }
            arguments[arguments.count - 1] = level.value
        }
        var bootstrap = bootstrap
        if let choice = annotations.sidecar("listenersOnDemand") {
            guard let isOn = Bool(choice.value) else { throw choice.expected("true or false") }
            bootstrap.asksForListeners = isOn
        }
        arguments += ["--config-yaml", bootstrap.json.encodedString()]
        return [
            "name": .string(MeshName.container),
            "image": .string(annotations.sidecar("proxyImage")?.value ?? settings.image),
            "command": [.string(settings.command)], "args": .array(arguments.map { .string($0) }),
            "restartPolicy": "Always",
            "env": [
                Self.variable("POD_NAME", "metadata.name"), Self.variable("POD_NAMESPACE", "metadata.namespace"),
                Self.variable("INSTANCE_IPS", "status.podIPs"), Self.variable("NODE_NAME", "spec.nodeName"),
            ],
            "ports": [["name": "http-envoy-prom", "containerPort": .int(Int64(MeshPort.metrics)), "protocol": "TCP"]],
            "resources": try resources(),
            // The app's containers start once this has passed; asked often, so that they do not wait long.
            "startupProbe": Self.probe(period: 1, failures: 600),
            "readinessProbe": Self.probe(period: 15, failures: 4),
            "securityContext": securityContext,
            "volumeMounts": [
                ["name": .string(MeshName.volume), "mountPath": .string(MeshName.folder), "readOnly": true],
                ["name": .string(MeshName.stateVolume), "mountPath": .string(MeshName.stateFolder)],
            ],
        ]
    }

    /// No rights; under TPROXY the one to send in others' names, which containers of ordinary users do not get (so Istio's is root as well).
    private var securityContext: JSONValue {
        let isTransparent = bootstrap.interception == .tproxy
        return [
            "allowPrivilegeEscalation": false,
            "capabilities": isTransparent ? ["add": ["NET_ADMIN"], "drop": ["ALL"]] : ["drop": ["ALL"]],
            "privileged": false, "readOnlyRootFilesystem": true, "runAsNonRoot": .bool(!isTransparent),
            "runAsUser": .int(isTransparent ? 0 : Int64(MeshName.user)), "runAsGroup": .int(Int64(MeshName.user)),
        ]
    }

    static let volumes: [JSONValue] = [
        ["name": .string(MeshName.volume), "csi": ["driver": .string(MeshName.driver), "readOnly": true]],
        // It lives as long as the pod, and so through restarts of the container.
        ["name": .string(MeshName.stateVolume), "emptyDir": ["sizeLimit": "64Mi"]],
    ]

    private static func variable(_ name: String, _ field: String) -> JSONValue {
        ["name": .string(name), "valueFrom": ["fieldRef": ["fieldPath": .string(field)]]]
    }

    private static func probe(period: Int64, failures: Int64) -> JSONValue {
        [
            "httpGet": ["path": "/healthz/ready", "port": .int(Int64(MeshPort.health))], "periodSeconds": .int(period),
            "timeoutSeconds": 3, "failureThreshold": .int(failures),
        ]
    }

    private func resources() throws(AnnotationError) -> JSONValue {
        let asked = (
            cpu: try quantity("proxyCPU"), memory: try quantity("proxyMemory"), cpuLimit: try quantity("proxyCPULimit"),
            memoryLimit: try quantity("proxyMemoryLimit")
        )
        let isOwn = [asked.cpu, asked.memory, asked.cpuLimit, asked.memoryLimit].contains { $0 != nil }
        func amounts(_ cpu: String?, _ memory: String?) -> JSONValue {
            var amounts = JSONObject()
            if let cpu { amounts["cpu"] = .string(cpu) }
            if let memory { amounts["memory"] = .string(memory) }
            return .object(amounts)
        }
        // As with Istio: who says something about resources says all of it, so that a request never exceeds a limit nobody wrote.
        guard isOwn else {
            return [
                "requests": amounts(settings.cpuRequest, settings.memoryRequest),
                "limits": amounts(settings.cpuLimit, settings.memoryLimit),
            ]
        }
        var resources = JSONObject()
        if asked.cpu != nil || asked.memory != nil { resources["requests"] = amounts(asked.cpu, asked.memory) }
        if asked.cpuLimit != nil || asked.memoryLimit != nil {
            resources["limits"] = amounts(asked.cpuLimit, asked.memoryLimit)
        }
        return .object(resources)
    }

    private func quantity(_ setting: String) throws(AnnotationError) -> String? {
        guard let entry = annotations.sidecar(setting) else { return nil }
        guard let amount = Quantity(entry.value), !amount.isNegative else {
            throw entry.expected("a quantity such as 100m or 64Mi")
        }
        return entry.value
    }
}
