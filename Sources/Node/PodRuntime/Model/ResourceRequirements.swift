import ClusterAPI
import JSON

/// What a container asks for and what it may take at most.
public struct ResourceRequirements: Sendable, Equatable {
    public var requests: Amounts
    public var limits: Amounts

    public struct Amounts: Sendable, Equatable {
        /// Thousandths of a CPU.
        public var milliCPU: Int64?
        /// Bytes.
        public var memory: UInt64?
        /// Bytes.
        public var ephemeralStorage: UInt64?

        public init(milliCPU: Int64? = nil, memory: UInt64? = nil, ephemeralStorage: UInt64? = nil) {
            self.milliCPU = milliCPU
            self.memory = memory
            self.ephemeralStorage = ephemeralStorage
        }
    }

    public init(requests: Amounts = Amounts(), limits: Amounts = Amounts()) {
        self.requests = requests
        self.limits = limits
    }

    init(json: JSONValue) {
        limits = Amounts(json: json["limits"])
        requests = Amounts(json: json["requests"])
        // The API server defaults requests to limits; static pods have no server before them.
        requests.milliCPU = requests.milliCPU ?? limits.milliCPU
        requests.memory = requests.memory ?? limits.memory
    }

    /// A quantity as bytes, rounded up; nil when it is not a quantity or negative.
    static func bytes(_ json: JSONValue) -> UInt64? {
        quantity(json).flatMap { UInt64(exactly: $0.value) }
    }

    /// A quantity as thousandths, rounded up.
    static func milli(_ json: JSONValue) -> Int64? {
        quantity(json).map(\.milliValue)
    }

    private static func quantity(_ json: JSONValue) -> Quantity? {
        if let text = json.string { return Quantity(text) }
        if let number = json.int { return Quantity(String(number)) }
        return nil
    }
}

extension ResourceRequirements.Amounts {
    init(json: JSONValue?) {
        milliCPU = json?["cpu"].flatMap(ResourceRequirements.milli)
        memory = json?["memory"].flatMap(ResourceRequirements.bytes)
        ephemeralStorage = json?["ephemeral-storage"].flatMap(ResourceRequirements.bytes)
    }
}

/// How a pod is treated when the node runs short.
public enum QualityOfService: String, Sendable {
    case guaranteed = "Guaranteed"
    case burstable = "Burstable"
    case bestEffort = "BestEffort"

    /// Guaranteed: every container limits CPU and memory and asks for just that. BestEffort: none asks for anything.
    init(containers: [ContainerSpec]) {
        let all = containers.map(\.resources)
        let asksNothing = all.allSatisfy {
            ($0.requests.milliCPU ?? 0) == 0 && ($0.requests.memory ?? 0) == 0 && ($0.limits.milliCPU ?? 0) == 0
                && ($0.limits.memory ?? 0) == 0
        }
        let asksExactly = all.allSatisfy {
            ($0.limits.milliCPU ?? 0) > 0 && ($0.limits.memory ?? 0) > 0 && $0.requests.milliCPU == $0.limits.milliCPU
                && $0.requests.memory == $0.limits.memory
        }
        self = asksNothing ? .bestEffort : asksExactly ? .guaranteed : .burstable
    }
}
