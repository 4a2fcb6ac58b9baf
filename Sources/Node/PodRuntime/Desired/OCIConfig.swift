import JSON

/// A container as the OCI runtime specification (1.0) describes it: the content of `config.json`.
///
/// Pure: all paths, ids and sizes come in as values.
public struct OCIConfig: Sendable {
    public var arguments: [String]
    public var environment: [(name: String, value: String)]
    public var workingDirectory: String
    public var user: User
    public var security: ContainerSecurity
    /// Directory that becomes `/`; a mount point of its own.
    public var rootPath: String
    public var isRootReadOnly: Bool
    public var mounts: [Mount]
    public var namespaces: Namespaces
    public var cgroupPath: String
    public var resources: ResourceRequirements
    public var oomScoreAdjust: Int64
    /// Paths of the root that a container must not see.
    public var hiddenPaths: [String]
    public var cgroups: CgroupHierarchy
    public var annotations: [String: String]
    public var terminal: Bool

    public struct User: Sendable, Equatable {
        public var uid: UInt32
        public var gid: UInt32
        public var additional: [UInt32]

        public init(uid: UInt32 = 0, gid: UInt32 = 0, additional: [UInt32] = []) {
            self.uid = uid
            self.gid = gid
            self.additional = additional
        }
    }

    /// A bind mount from the node.
    public struct Mount: Sendable, Equatable {
        public var source: String
        public var destination: String
        public var isReadOnly: Bool
        /// `rprivate`, `rslave` or `rshared`.
        public var propagation: String

        public init(source: String, destination: String, isReadOnly: Bool, propagation: String = "rprivate") {
            self.source = source
            self.destination = destination
            self.isReadOnly = isReadOnly
            self.propagation = propagation
        }
    }

    /// Paths of pinned namespaces; nil shares the node's.
    public struct Namespaces: Sendable, Equatable {
        public var network: String?
        public var ipc: String?
        public var uts: String?
        public var hasOwnPID: Bool

        public init(network: String?, ipc: String?, uts: String?, hasOwnPID: Bool = true) {
            self.network = network
            self.ipc = ipc
            self.uts = uts
            self.hasOwnPID = hasOwnPID
        }
    }

    /// What Docker has always given to containers, and Kubernetes with it.
    static let defaultCapabilities = [
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
        "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    ]

    static let allCapabilities =
        defaultCapabilities + [
            "AUDIT_CONTROL", "AUDIT_READ", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "DAC_READ_SEARCH", "IPC_LOCK",
            "IPC_OWNER", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "NET_ADMIN", "NET_BROADCAST",
            "PERFMON",
            "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO",
            "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM",
        ]

    /// Kernel files that tell or change too much about the node.
    static let maskedPaths = [
        "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware", "/sys/devices/virtual/powercap",
    ]
    static let readOnlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

    static func capabilities(_ security: ContainerSecurity) -> [String] {
        if security.privileged { return allCapabilities.sorted() }
        func plain(_ name: String) -> String {
            let upper = name.uppercased()
            return upper.hasPrefix("CAP_") ? String(upper.dropFirst(4)) : upper
        }
        let added = Set(security.addedCapabilities.map(plain))
        let dropped = Set(security.droppedCapabilities.map(plain))
        var result = Set(added.contains("ALL") ? allCapabilities : defaultCapabilities)
        if dropped.contains("ALL") { result = added.contains("ALL") ? result : [] }
        result.formUnion(added.filter { $0 != "ALL" })
        result.subtract(dropped.filter { !added.contains($0) })
        return result.sorted()
    }

    public var json: JSONValue {
        let capabilities = JSONValue.array(Self.capabilities(security).map { .string("CAP_" + $0) })
        var process: JSONValue = [
            "terminal": .bool(terminal),
            "user": ["uid": .int(Int64(user.uid)), "gid": .int(Int64(user.gid))],
            "args": .array(arguments.map { .string($0) }),
            "env": .array(environment.map { .string("\($0.name)=\($0.value)") }),
            "cwd": .string(workingDirectory.isEmpty ? "/" : workingDirectory),
            "capabilities": ["bounding": capabilities, "effective": capabilities, "permitted": capabilities],
            "noNewPrivileges": .bool(!security.allowPrivilegeEscalation && !security.privileged),
            "oomScoreAdj": .int(oomScoreAdjust),
        ]
        if !user.additional.isEmpty {
            process["user"]?["additionalGids"] = .array(user.additional.map { .int(Int64($0)) })
        }
        var linux: JSONValue = [
            "namespaces": .array(namespaceList), "cgroupsPath": .string(cgroupPath), "resources": resourceLimits,
            "rootfsPropagation": .string(mounts.contains { $0.propagation == "rshared" } ? "rshared" : "rslave"),
        ]
        if security.privileged {
            linux["maskedPaths"] = .array(hiddenPaths.map { .string($0) })
        } else {
            linux["maskedPaths"] = .array((Self.maskedPaths + hiddenPaths).map { .string($0) })
            linux["readonlyPaths"] = .array(Self.readOnlyPaths.map { .string($0) })
        }
        return [
            "ociVersion": "1.0.2",
            "process": process,
            "root": ["path": .string(rootPath), "readonly": .bool(isRootReadOnly)],
            "mounts": .array(systemMounts + mounts.map(Self.bind)),
            "annotations": .object(JSONObject(annotations.map { (key: $0.key, value: JSONValue.string($0.value)) })),
            "linux": linux,
        ]
    }

    private var namespaceList: [JSONValue] {
        var list: [JSONValue] = [["type": "mount"]]
        if namespaces.hasOwnPID { list.append(["type": "pid"]) }
        if let path = namespaces.network { list.append(["type": "network", "path": .string(path)]) }
        if let path = namespaces.ipc { list.append(["type": "ipc", "path": .string(path)]) }
        if let path = namespaces.uts { list.append(["type": "uts", "path": .string(path)]) }
        if cgroups == .unified { list.append(["type": "cgroup"]) }
        return list
    }

    private var resourceLimits: JSONValue {
        var cpu: JSONValue = ["shares": .int(CgroupPlan.shares(milliCPU: resources.requests.milliCPU ?? 0))]
        if let quota = CgroupPlan.quota(milliCPU: resources.limits.milliCPU) {
            cpu["quota"] = .int(quota)
            cpu["period"] = .int(CgroupPlan.quotaPeriod)
        }
        var limits: JSONValue = [
            "cpu": cpu, "devices": [["allow": .bool(security.privileged), "access": "rwm"]],
        ]
        if let memory = resources.limits.memory, let bytes = Int64(exactly: memory), bytes > 0 {
            limits["memory"] = ["limit": .int(bytes)]
        }
        return limits
    }

    /// Kernel file systems and the private, writable places of an otherwise read-only root.
    private var systemMounts: [JSONValue] {
        func mount(_ type: String, _ destination: String, _ options: [String]) -> JSONValue {
            [
                "type": .string(type), "source": .string(type), "destination": .string(destination),
                "options": .array(options.map { .string($0) }),
            ]
        }
        let access = security.privileged ? "rw" : "ro"
        var list: [JSONValue] = [
            mount("proc", "/proc", ["nosuid", "noexec", "nodev"]),
            mount("tmpfs", "/dev", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("devpts", "/dev/pts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("mqueue", "/dev/mqueue", ["nosuid", "noexec", "nodev"]),
            mount("sysfs", "/sys", ["nosuid", "noexec", "nodev", access]),
        ]
        if cgroups == .unified {
            list.append(mount("cgroup", "/sys/fs/cgroup", ["nosuid", "noexec", "nodev", "relatime", access]))
        }
        let taken = Set(mounts.map(\.destination))
        for (path, mode) in [("/tmp", "1777"), ("/var/tmp", "1777"), ("/run", "755")] where !taken.contains(path) {
            list.append(mount("tmpfs", path, ["nosuid", "nodev", "mode=\(mode)"]))
        }
        return list
    }

    private static func bind(_ mount: Mount) -> JSONValue {
        [
            "type": "bind", "source": .string(mount.source), "destination": .string(mount.destination),
            "options": .array(["rbind", .string(mount.propagation), mount.isReadOnly ? "ro" : "rw"]),
        ]
    }
}

/// How this machine mounts its cgroup controllers.
public enum CgroupHierarchy: Sendable, Equatable {
    /// v2 alone at /sys/fs/cgroup.
    case unified
    /// v1 controllers; `unifiedMount` is where v2 is mounted beside them, if it is.
    case legacy(unifiedMount: String?)
}
