import JSON

/// One container of a pod as its author asked for it.
public struct ContainerSpec: Sendable, Equatable {
    public var name: String
    public var image: String
    public var imagePullPolicy: String
    public var command: [String]
    public var args: [String]
    public var workingDirectory: String
    public var env: [EnvironmentEntry]
    public var envFrom: [EnvironmentImport]
    public var mounts: [VolumeMount]
    public var ports: [ContainerPort]
    public var resources: ResourceRequirements
    public var security: ContainerSecurity
    public var liveness: ProbeSpec?
    public var readiness: ProbeSpec?
    public var startup: ProbeSpec?
    public var postStart: ActionSpec?
    public var preStop: ActionSpec?
    /// `SIGTERM` unless the container asks for another.
    public var stopSignal: String
    public var terminationMessagePath: String
    public var terminationMessageFromLogs: Bool
    public var isInit: Bool
    /// The container's own restartPolicy; nil follows the pod's.
    public var restartPolicy: RestartPolicy?
    public var tty: Bool
    public var stdin: Bool

    /// An init container that keeps running beside the others (KEP-753).
    public var isSidecar: Bool { isInit && restartPolicy == .always }
}

public struct ContainerPort: Sendable, Equatable {
    public var name: String
    public var containerPort: UInt16
    public var hostPort: UInt16
    public var hostIP: String
    /// TCP, UDP or SCTP.
    public var transport: String
}

public struct VolumeMount: Sendable, Equatable {
    public var volume: String
    public var path: String
    public var readOnly: Bool
    /// Relative to the volume; may hold `$(VAR)` when it came from subPathExpr.
    public var subPath: String
    public var subPathIsExpression: Bool
    /// None, HostToContainer or Bidirectional.
    public var propagation: String
}

/// One `env` entry.
public struct EnvironmentEntry: Sendable, Equatable {
    public enum Source: Sendable, Equatable {
        case value(String)
        case configMap(name: String, key: String, optional: Bool)
        case secret(name: String, key: String, optional: Bool)
        case field(path: String)
        case resource(container: String, resource: String, divisor: String)
    }
    public var name: String
    public var source: Source
}

/// One `envFrom` entry.
public struct EnvironmentImport: Sendable, Equatable {
    public enum Source: Sendable, Equatable {
        case configMap(String)
        case secret(String)
    }
    public var prefix: String
    public var source: Source
    public var optional: Bool
}

extension ContainerSpec {
    init(json: JSONValue, isInit: Bool) throws(PodSpecError) {
        name = try PodSpec.pathSafe(json["name"]?.string, "spec.containers.name")
        image = json["image"]?.string ?? ""
        imagePullPolicy = json["imagePullPolicy"]?.string ?? "IfNotPresent"
        command = json["command"].elements.compactMap(\.string)
        args = json["args"].elements.compactMap(\.string)
        workingDirectory = json["workingDir"]?.string ?? ""
        env = json["env"].elements.compactMap(EnvironmentEntry.init(json:))
        envFrom = json["envFrom"].elements.compactMap(EnvironmentImport.init(json:))
        mounts = json["volumeMounts"].elements.compactMap(VolumeMount.init(json:))
        ports = json["ports"].elements.compactMap(ContainerPort.init(json:))
        resources = ResourceRequirements(json: json["resources"] ?? [:])
        security = ContainerSecurity(json: json["securityContext"] ?? [:])
        liveness = json["livenessProbe"].flatMap(ProbeSpec.init(json:))
        readiness = json["readinessProbe"].flatMap(ProbeSpec.init(json:))
        startup = json["startupProbe"].flatMap(ProbeSpec.init(json:))
        let lifecycle = json["lifecycle"]
        postStart = lifecycle?["postStart"].flatMap(ActionSpec.init(json:))
        preStop = lifecycle?["preStop"].flatMap(ActionSpec.init(json:))
        stopSignal = lifecycle?["stopSignal"]?.string ?? "SIGTERM"
        terminationMessagePath = json["terminationMessagePath"]?.string ?? "/dev/termination-log"
        terminationMessageFromLogs = json["terminationMessagePolicy"]?.string == "FallbackToLogsOnError"
        self.isInit = isInit
        restartPolicy = json["restartPolicy"]?.string.flatMap(RestartPolicy.init)
        tty = json["tty"]?.bool ?? false
        stdin = json["stdin"]?.bool ?? false
    }

    /// A port by name or number; nil when no port of the container has that name.
    func port(_ reference: PortReference) -> UInt16? {
        switch reference {
        case .number(let number): number
        case .name(let name): ports.first { $0.name == name }?.containerPort ?? UInt16(name)
        }
    }
}

extension ContainerPort {
    init?(json: JSONValue) {
        guard let port = json["containerPort"]?.int.flatMap({ UInt16(exactly: $0) }) else { return nil }
        self.init(
            name: json["name"]?.string ?? "", containerPort: port,
            hostPort: json["hostPort"]?.int.flatMap { UInt16(exactly: $0) } ?? 0, hostIP: json["hostIP"]?.string ?? "",
            transport: json["protocol"]?.string ?? "TCP")
    }
}

extension VolumeMount {
    init?(json: JSONValue) {
        guard let volume = json["name"]?.string, let path = json["mountPath"]?.string, path.hasPrefix("/") else {
            return nil
        }
        let expression = json["subPathExpr"]?.string
        self.init(
            volume: volume, path: path, readOnly: json["readOnly"]?.bool ?? false,
            subPath: expression ?? json["subPath"]?.string ?? "", subPathIsExpression: expression != nil,
            propagation: json["mountPropagation"]?.string ?? "None")
    }
}

extension EnvironmentEntry {
    init?(json: JSONValue) {
        guard let name = json["name"]?.string, !name.isEmpty else { return nil }
        self.name = name
        let from = json["valueFrom"]
        if let reference = from?["configMapKeyRef"], let key = reference["key"]?.string {
            source = .configMap(
                name: reference["name"]?.string ?? "", key: key, optional: reference["optional"]?.bool ?? false)
        } else if let reference = from?["secretKeyRef"], let key = reference["key"]?.string {
            source = .secret(
                name: reference["name"]?.string ?? "", key: key, optional: reference["optional"]?.bool ?? false)
        } else if let path = from?["fieldRef"]?["fieldPath"]?.string {
            source = .field(path: path)
        } else if let reference = from?["resourceFieldRef"], let resource = reference["resource"]?.string {
            source = .resource(
                container: reference["containerName"]?.string ?? "", resource: resource,
                divisor: reference["divisor"]?.string ?? "0")
        } else {
            source = .value(json["value"]?.string ?? "")
        }
    }
}

extension EnvironmentImport {
    init?(json: JSONValue) {
        prefix = json["prefix"]?.string ?? ""
        if let reference = json["configMapRef"] {
            source = .configMap(reference["name"]?.string ?? "")
            optional = reference["optional"]?.bool ?? false
        } else if let reference = json["secretRef"] {
            source = .secret(reference["name"]?.string ?? "")
            optional = reference["optional"]?.bool ?? false
        } else {
            return nil
        }
    }
}
