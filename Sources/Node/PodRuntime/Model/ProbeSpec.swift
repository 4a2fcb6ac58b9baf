import JSON

/// A health question and how its answers count.
public struct ProbeSpec: Sendable, Equatable {
    public var action: ActionSpec
    /// Seconds.
    public var initialDelay: Int64
    public var timeout: Int64
    public var period: Int64
    /// Answers in a row that change the verdict.
    public var successThreshold: Int64
    public var failureThreshold: Int64
    /// Overrides the pod's grace period when this probe ends the container.
    public var terminationGracePeriod: Int64?
}

/// Something done to a container from outside: the handler of a probe or of a lifecycle hook.
public enum ActionSpec: Sendable, Equatable {
    case exec([String])
    case http(HTTPAction)
    case tcp(host: String, port: PortReference)
    case grpc(port: UInt16, service: String)
    /// Seconds; hooks only.
    case sleep(Int64)
}

public struct HTTPAction: Sendable, Equatable {
    /// Empty means the pod's own address.
    public var host: String
    public var port: PortReference
    public var path: String
    public var usesTLS: Bool
    public var headers: [Header]

    public struct Header: Sendable, Equatable {
        public var name: String
        public var value: String
    }
}

/// A port by number, or by the name that the container's ports give it.
public enum PortReference: Sendable, Equatable, CustomStringConvertible {
    case number(UInt16)
    case name(String)

    public var description: String {
        switch self {
        case .number(let number): String(number)
        case .name(let name): name
        }
    }
}

extension ProbeSpec {
    /// nil when the probe names no action that exists.
    init?(json: JSONValue) {
        guard let action = ActionSpec(json: json) else { return nil }
        self.action = action
        initialDelay = max(0, json["initialDelaySeconds"]?.int ?? 0)
        timeout = max(1, json["timeoutSeconds"]?.int ?? 1)
        period = max(1, json["periodSeconds"]?.int ?? 10)
        successThreshold = max(1, json["successThreshold"]?.int ?? 1)
        failureThreshold = max(1, json["failureThreshold"]?.int ?? 3)
        terminationGracePeriod = json["terminationGracePeriodSeconds"]?.int
    }
}

extension ActionSpec {
    init?(json: JSONValue) {
        if let exec = json["exec"] {
            self = .exec(exec["command"].elements.compactMap(\.string))
        } else if let http = json["httpGet"], let port = PortReference(json: http["port"]) {
            self = .http(
                HTTPAction(
                    host: http["host"]?.string ?? "", port: port, path: http["path"]?.string ?? "/",
                    usesTLS: http["scheme"]?.string == "HTTPS",
                    headers: http["httpHeaders"].elements.compactMap { header in
                        guard let name = header["name"]?.string, let value = header["value"]?.string else { return nil }
                        return HTTPAction.Header(name: name, value: value)
                    }))
        } else if let tcp = json["tcpSocket"], let port = PortReference(json: tcp["port"]) {
            self = .tcp(host: tcp["host"]?.string ?? "", port: port)
        } else if let grpc = json["grpc"], let port = grpc["port"]?.int.flatMap({ UInt16(exactly: $0) }) {
            self = .grpc(port: port, service: grpc["service"]?.string ?? "")
        } else if let seconds = json["sleep"]?["seconds"]?.int {
            self = .sleep(max(0, seconds))
        } else {
            return nil
        }
    }
}

extension PortReference {
    init?(json: JSONValue?) {
        if let number = json?.int {
            guard let port = UInt16(exactly: number), port > 0 else { return nil }
            self = .number(port)
        } else if let name = json?.string {
            self = .name(name)
        } else {
            return nil
        }
    }
}
