import Bytes
import Glibc
import JSON
import Reactor
import Testing

@testable import PodRuntime

/// A node's folders under a fresh temporary folder, and containers in them without an agent.
struct RuntimeFixture: Sendable {
    let root: String
    let paths: NodePaths
    let runtime: OCIRuntime
    let group: EventLoopGroup
    /// Of this test alone, so that all of it can be taken away.
    var cgroupRoot: String { "/" + root.split(separator: "/").joined(separator: "-") }

    init() throws {
        var template = Array("/tmp/weft-podruntime-XXXXXX".utf8CString)
        root = String(cString: try #require(mkdtemp(&template)))
        paths = NodePaths(state: root + "/state", run: root + "/run", log: root + "/log")
        group = try EventLoopGroup(count: 1, name: "runtime")
        runtime = OCIRuntime(paths: paths, cgroups: try CgroupHost(run: paths.run), loop: group.next)
        try runtime.prepare()
    }

    func cleanUp() async {
        do {
            try await NodeAgent.removeEverything(paths: paths, cgroupRoot: cgroupRoot, on: group.next)
            try Files.removeTree(root)
        } catch {
            Issue.record("the runtime left something behind: \(error)")
        }
        await group.shutdown()
    }

    func sandbox(_ pod: PodSpec) async throws -> SandboxFacts {
        let paths = paths
        return try await offLoop {
            let directory = paths.sandbox("s-" + pod.identity.uid)
            let namespaces = SandboxNamespaces(directory: directory, hostNetwork: false, hostIPC: false)
            try namespaces.create(hostname: HostsFile.hostname(of: pod, node: "node-1"), sysctls: pod.security.sysctls)
            try PodFiles(paths: paths, pod: pod).write(
                podIPs: ["10.1.2.3"], resolver: ResolverConfig(nameservers: ["10.96.0.10"]),
                clusterDomain: "cluster.local",
                node: "node-1")
            return SandboxFacts(
                id: "s-" + pod.identity.uid, networkPath: namespaces.network, ipcPath: namespaces.ipc,
                utsPath: namespaces.uts, podIPs: ["10.1.2.3"], createdAt: .now())
        }
    }

    /// Starts a container of the pod and gives its id, process and log file.
    func start(
        _ pod: PodSpec, _ container: String = "main", sandbox: SandboxFacts, id: String = ContainerID.fresh()
    ) async throws -> (id: String, pid: Int32, log: String) {
        let (paths, runtime) = (paths, runtime)
        let spec = try #require(pod.container(named: container))
        let bundle = ContainerBundle(
            id: id, pod: pod, container: spec, attempt: 0, environment: [("GREETING", "hello")], sandbox: sandbox,
            paths: paths, hierarchy: runtime.cgroups.hierarchy, cgroupRoot: cgroupRoot, nodeMemory: 8 << 30,
            hiddenPaths: ["/usr/share/doc"])
        try await offLoop { try bundle.write() }
        let pid = try await runtime.create(id, log: bundle.logFile, terminal: false)
        try await runtime.start(id)
        return (id, pid, bundle.logFile)
    }

    func exit(of id: String) async throws -> Int32 {
        for _ in 0..<2000 {
            if let exit = runtime.exit(of: id) { return exit.code }
            try await Task.sleep(for: .milliseconds(5))
        }
        throw SandboxError(description: "container \(id) did not end within 10 s")
    }

    func text(_ log: String) throws -> String {
        var reader = try ContainerLogReader(path: log, query: LogQuery())
        return String(decoding: try reader.read(), as: UTF8.self)
    }
}

@Suite("containers through crun and conmon", .enabled(if: getuid() == 0))
struct OCIRuntimeTests {
    private func with(_ body: (RuntimeFixture) async throws -> Void) async throws {
        let fixture = try RuntimeFixture()
        do {
            try await body(fixture)
        } catch {
            await fixture.cleanUp()
            throw error
        }
        await fixture.cleanUp()
    }

    private func pod(_ script: String, uid: String, fields: JSONValue = [:], spec: JSONValue = [:]) throws -> PodSpec {
        var container = fields
        container["command"] = ["/bin/sh", "-c", .string(script)]
        return try PodSpec(
            pod: PodFixture.pod(uid: uid, containers: [PodFixture.container("main", container)], spec: spec))
    }

    @Test("a container runs, writes its log line by line with its stream, and leaves its exit code")
    func runs() async throws {
        try await with { fixture in
            let pod = try pod("echo $GREETING; echo oops >&2; exit 3", uid: "t-runs")
            let started = try await fixture.start(pod, sandbox: try await fixture.sandbox(pod))
            #expect(try await fixture.exit(of: started.id) == 3)
            #expect(Set(try fixture.text(started.log).split(separator: "\n")) == ["hello", "oops"])
            var query = LogQuery()
            query.stream = "stderr"
            var reader = try ContainerLogReader(path: started.log, query: query)
            #expect(String(decoding: try reader.read(), as: UTF8.self) == "oops\n")
        }
    }

    @Test("a container sees the pod's names, a private writable /tmp, a read-only root, and not the node's secrets")
    func view() async throws {
        try await with { fixture in
            let script = """
                hostname; cat /etc/hostname; grep 10.1.2.3 /etc/hosts | cut -f2; cat /etc/resolv.conf
                echo $$$$; touch /tmp/x && echo tmp; touch /usr/x 2>/dev/null || echo ro; ls /usr/share/doc | wc -l
                ls /sys/class/net; test -c /dev/null && echo dev; df /dev/shm | tail -1 | cut -d' ' -f1
                grep CapEff /proc/self/status; cat /proc/1/oom_score_adj
                """
            let pod = try pod(script, uid: "t-view")
            let started = try await fixture.start(pod, sandbox: try await fixture.sandbox(pod))
            #expect(try await fixture.exit(of: started.id) == 0)
            let lines = try fixture.text(started.log).split(separator: "\n").map(String.init)
            #expect(
                lines == [
                    "web", "web", "web", "nameserver 10.96.0.10", "1", "tmp", "ro", "0", "lo", "dev", "tmpfs",
                    "CapEff:\t00000000a80425fb", "1000",
                ])
            #expect(!Directory.exists("/usr/x"))
        }
    }

    @Test("a container may be killed, and the code says by which signal")
    func killed() async throws {
        try await with { fixture in
            let pod = try pod("sleep 100", uid: "t-killed")
            let started = try await fixture.start(pod, sandbox: try await fixture.sandbox(pod))
            #expect(fixture.runtime.process(of: started.id) == started.pid)
            #expect(kill(started.pid, SIGKILL) == 0)
            #expect(try await fixture.exit(of: started.id) == 137)
            #expect(fixture.runtime.process(of: started.id) == nil)
        }
    }

    @Test("a command that does not exist is the runtime's clear refusal, and leaves nothing")
    func missingCommand() async throws {
        try await with { fixture in
            let pod = try PodSpec(
                pod: PodFixture.pod(
                    uid: "t-missing", containers: [PodFixture.container("main", ["command": ["/no/such/program"]])]))
            let sandbox = try await fixture.sandbox(pod)
            let id = ContainerID.fresh()
            await #expect {
                try await fixture.start(pod, sandbox: sandbox, id: id)
            } throws: { error in
                return error is OCIRuntime.Failure && "\(error)".contains("/no/such/program")
            }
            try await fixture.runtime.delete(id)
            #expect(fixture.runtime.containers().isEmpty)
            #expect(!Directory.exists(fixture.paths.bundle(id)))
        }
    }

    @Test("exec gives the command's output and code, and a time-out kills what was started")
    func exec() async throws {
        try await with { fixture in
            let pod = try pod("sleep 100", uid: "t-exec")
            let started = try await fixture.start(pod, sandbox: try await fixture.sandbox(pod))
            let runtime = fixture.runtime
            let good = try await runtime.exec(
                started.id, ["/bin/sh", "-c", "echo $GREETING; exit 4"], timeout: .seconds(60))
            #expect(good.code == 4)
            #expect(good.text == "hello")
            let slow = try await runtime.exec(started.id, ["/bin/sleep", "77"], timeout: .milliseconds(300))
            #expect(slow.timedOut)
            let left = try await runtime.exec(
                started.id, ["/bin/sh", "-c", "ps ax | grep -c '[s]leep 77'"], timeout: .seconds(60))
            #expect(left.text == "0")
        }
    }

    @Test("limits and a user of the container's own reach the kernel")
    func limits() async throws {
        try await with { fixture in
            let fields: JSONValue = [
                "resources": ["limits": ["memory": "64Mi", "cpu": "500m"], "requests": ["cpu": "250m"]],
                "securityContext": [
                    "runAsUser": 1234, "capabilities": ["drop": ["ALL"]], "allowPrivilegeEscalation": false,
                ],
            ]
            let pod = try pod("sleep 100", uid: "t-limits", fields: fields)
            let started = try await fixture.start(pod, sandbox: try await fixture.sandbox(pod))
            let status = String(decoding: try Files.read("/proc/\(started.pid)/status", limit: 1 << 16), as: UTF8.self)
            #expect(status.contains("Uid:\t1234\t1234"))
            #expect(status.contains("CapBnd:\t0000000000000000"))
            #expect(status.contains("NoNewPrivs:\t1"))
            let path = "\(fixture.cgroupRoot)/kubepods/burstable/podt-limits/\(started.id)"
            func read(_ file: String) -> String {
                String(decoding: (try? Files.read(file, limit: 100)) ?? [], as: UTF8.self).trimmed
            }
            switch fixture.runtime.cgroups.hierarchy {
            case .unified:
                #expect(read("\(CgroupHost.root)\(path)/memory.max") == "\(64 << 20)")
                #expect(read("\(CgroupHost.root)\(path)/cpu.max") == "50000 100000")
            case .legacy:
                #expect(read("\(CgroupHost.root)/memory\(path)/memory.limit_in_bytes") == "\(64 << 20)")
                #expect(read("\(CgroupHost.root)/cpu\(path)/cpu.cfs_quota_us") == "50000")
                #expect(read("\(CgroupHost.root)/cpu\(path)/cpu.shares") == "256")
            }
            try await fixture.runtime.delete(started.id)
            fixture.runtime.cgroups.remove(fixture.cgroupRoot)
            for tree in [""] + Directory.names(CgroupHost.root) {
                #expect(!Directory.exists("\(CgroupHost.root)/\(tree)\(fixture.cgroupRoot)"))
            }
        }
    }

    @Test("a log that was put aside goes on in a new file, and a reader follows it there")
    func rotation() async throws {
        try await with { fixture in
            let pod = try pod(
                "echo one; while ! test -e /shared/go; do sleep 0.01; done; echo two; sleep 100", uid: "t-rotate",
                fields: ["volumeMounts": [["name": "shared", "mountPath": "/shared"]]],
                spec: ["volumes": [["name": "shared", "emptyDir": [:]]]])
            let started = try await fixture.start(pod, sandbox: try await fixture.sandbox(pod))
            var reader = try ContainerLogReader(path: started.log, query: LogQuery())
            var seen: [UInt8] = []
            func until(_ text: String) async throws {
                for _ in 0..<1000 where String(decoding: seen, as: UTF8.self) != text {
                    seen += try reader.read()
                    try await Task.sleep(for: .milliseconds(5))
                }
                #expect(String(decoding: seen, as: UTF8.self) == text)
            }
            try await until("one\n")
            #expect(try LogRotation.rotate(started.log, stamp: "1", sizeLimit: 1))
            try fixture.runtime.reopenLog(started.id)
            for _ in 0..<1000 where !Directory.exists(started.log) { try await Task.sleep(for: .milliseconds(5)) }
            try Directory.touch(fixture.paths.diskVolume("t-rotate", "shared") + "/go")
            try await until("one\ntwo\n")
            #expect(Directory.names(Directory.parent(of: started.log)) == ["0.log", "0.log.1"])
        }
    }
}
