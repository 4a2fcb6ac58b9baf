import Bytes

/// What became of one container of a pod so far.
public struct ContainerState: Sendable, Equatable {
    public enum Phase: Sendable, Equatable {
        /// Never started, or its turn has not come.
        case idle
        /// Asked to start; the runtime is at it.
        case starting
        /// Could not be started for want of an image or of something that its configuration names; tried again at `retryAt`.
        case blocked(reason: String, message: String, retryAt: Timestamp)
        case running(Running)
        case exited(Exit)
    }

    /// A container that has processes.
    public struct Running: Sendable, Equatable {
        public var id: String
        public var pid: Int32
        public var startedAt: Timestamp
        public var postStart: HookProgress
        public var probes: [ProbeKind: ProbeProgress]
        public var stop: Stop?

        /// Past its startup probe and its postStart hook.
        public var isStarted: Bool { postStart == .done && probes[.startup]?.passes ?? true }
        public var isReady: Bool { isStarted && stop?.isPodStopping != true && probes[.readiness]?.passes ?? true }
    }

    public enum HookProgress: Sendable, Equatable {
        case pending, running, done
    }

    /// A container on its way out.
    public struct Stop: Sendable, Equatable {
        /// When SIGKILL follows.
        public var deadline: Timestamp
        public var preStop: HookProgress
        public var isTerminated = false
        public var isKilled = false
        /// The whole pod stops, so the container counts as not ready; a failed liveness probe alone does not change readiness.
        public var isPodStopping: Bool
    }

    /// How a container ended.
    public struct Exit: Sendable, Equatable {
        public var id: String
        public var code: Int32
        public var signal: Int32
        public var reason: String
        public var message: String
        public var startedAt: Timestamp
        public var finishedAt: Timestamp

        public init(
            id: String, code: Int32, signal: Int32 = 0, reason: String, message: String = "", startedAt: Timestamp,
            finishedAt: Timestamp
        ) {
            self.id = id
            self.code = code
            self.signal = signal
            self.reason = reason
            self.message = message
            self.startedAt = startedAt
            self.finishedAt = finishedAt
        }
    }

    public var phase: Phase = .idle
    /// The end of the run before the present one.
    public var lastExit: Exit?
    public var restartCount: Int64 = 0
    public var restartBackoff = RestartBackoff()
    public var imageBackoff = RestartBackoff()
    /// Consecutive failures to start for reasons that are not the container's own.
    public var blockedCount = 0

    public init() {}

    public var running: Running? { if case .running(let running) = phase { running } else { nil } }
    public var exit: Exit? { if case .exited(let exit) = phase { exit } else { nil } }
    /// Whether processes exist or may come to exist without a further decision.
    var isActive: Bool {
        switch phase {
        case .running, .starting: true
        case .idle, .blocked, .exited: false
        }
    }

    mutating func withRunning(_ change: (inout Running) -> Void) {
        guard case .running(var running) = phase else { return }
        change(&running)
        phase = .running(running)
    }
}
