import Bytes

/// What happened to one pod on this node so far: the whole memory of the agent about it.
///
/// A value. `PodLifecycle` changes it; `PodCheckpoint` keeps it on disk so that a new agent goes on where the old one ended.
public struct PodState: Sendable, Equatable {
    public enum Sandbox: Sendable, Equatable {
        case absent
        case creating
        case failed(message: String, retryAt: Timestamp)
        case ready(SandboxFacts)
        /// What is being taken away; nil when there was no more than an attempt.
        case removing(SandboxFacts?)
    }

    /// Why a pod ended before its containers did by themselves.
    public struct End: Sendable, Equatable {
        public var reason: String
        public var message: String
    }

    public struct Termination: Sendable, Equatable {
        public var startedAt: Timestamp
        /// Seconds.
        public var gracePeriod: Int64
        public var deadline: Timestamp { startedAt.adding(.seconds(gracePeriod)) }
    }

    public var startTime: Timestamp
    public var sandbox: Sandbox = .absent
    public var sandboxAttempt: Int64 = 0
    public var sandboxFailures = 0
    public var containers: [String: ContainerState] = [:]
    /// All init containers have done their part since the sandbox was made.
    public var isInitialized = false
    public var end: End?
    /// Set while all containers are being stopped for good.
    public var termination: Termination?

    public init(startTime: Timestamp) { self.startTime = startTime }

    public subscript(name: String) -> ContainerState {
        get { containers[name] ?? ContainerState() }
        set { containers[name] = newValue }
    }

    public var sandboxFacts: SandboxFacts? { if case .ready(let facts) = sandbox { facts } else { nil } }
    /// The sandbox that exists, also while it is being taken away.
    var heldSandbox: SandboxFacts? {
        switch sandbox {
        case .ready(let facts): facts
        case .removing(let facts): facts
        case .absent, .creating, .failed: nil
        }
    }
    var hasActiveContainers: Bool { containers.values.contains(where: \.isActive) }
}

/// A pod's namespaces and addresses.
public struct SandboxFacts: Sendable, Equatable {
    public var id: String
    /// Files that the namespaces are bound to; empty for a namespace that is the host's.
    public var networkPath: String
    public var ipcPath: String
    public var utsPath: String
    public var podIPs: [String]
    public var createdAt: Timestamp

    public init(
        id: String, networkPath: String, ipcPath: String, utsPath: String, podIPs: [String], createdAt: Timestamp
    ) {
        self.id = id
        self.networkPath = networkPath
        self.ipcPath = ipcPath
        self.utsPath = utsPath
        self.podIPs = podIPs
        self.createdAt = createdAt
    }
}
