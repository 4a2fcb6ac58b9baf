import Glibc
import JSON
import Reactor
import Testing

/// The command that a person types, with the real programs, on a machine of the test's own.
@Suite(
    "weft up, status and down", .serialized, .enabled(if: OtherMachine.isAvailable, "root and all programs"),
    .timeLimit(.minutes(5)))
struct UpTests {
    private func pid(_ machine: OtherMachine, _ name: String) throws -> Int32 {
        let text = try Files.readText("\(machine.cluster)/run/\(name).pid", limit: 64)
        return try #require(Int32(text.prefix { $0.isNumber }))
    }

    private func clusterID(_ machine: OtherMachine) throws -> String {
        let json = try JSONValue.parse(Files.read(machine.cluster + "/cluster.json"))
        return try #require(json["id"]?.string)
    }

    private func up(_ machine: OtherMachine, nodes: Int = 2, dns: Bool = false) throws {
        let more = dns ? [] : ["--without-dns"]
        let output = try machine.weft(["up", "--nodes", "\(nodes)", "--dir", machine.cluster] + more)
        try #require(output.succeeded, "\(output.text)")
        #expect(output.text.contains("export KUBECONFIG=\(machine.cluster)/kubeconfig"))
    }

    /// Waits until it holds; says what was seen last when it never does.
    private func eventually(_ what: String, seconds: Int = 20, _ condition: () throws -> String?) throws {
        var seen: String?
        for _ in 0..<(seconds * 20) {
            seen = try condition()
            if seen == nil { return }
            usleep(50_000)
        }
        Issue.record("not within \(seconds) s: \(what): \(seen ?? "")")
    }

    @Test("a cluster comes up, is well, has DNS, and leaves nothing when it goes")
    func life() throws {
        let machine = try OtherMachine()
        try up(machine, dns: true)
        let status = try machine.weft("status", "--dir", machine.cluster)
        #expect(status.succeeded, "\(status.text)")
        for word in ["node-1", "node-2", "control", "Ready", "coredns"] {
            #expect(status.text.contains(word), "\(word)")
        }
        let id = try clusterID(machine)

        let again = try machine.weft("up", "--dir", machine.cluster)
        #expect(!again.succeeded && again.text.contains("already up"), "\(again.text)")

        let down = try machine.weft("down", "--dir", machine.cluster)
        #expect(down.succeeded, "\(down.text)")
        #expect(try machine.remains() == [] as [String])
        #expect(try machine.controlGroups(id) == [])
        let twice = try machine.weft("down", "--dir", machine.cluster)
        #expect(twice.succeeded && twice.text.contains("nothing is up"), "\(twice.text)")
    }

    @Test("a packet to a Service is explained, by the API's objects and by the node's own table")
    func traced() throws {
        let machine = try OtherMachine()
        try up(machine, nodes: 1)
        func trace(_ arguments: String...) throws -> OtherMachine.Output {
            try machine.weft(["service", "trace", "--dir", machine.cluster] + arguments)
        }
        try eventually("the kernel does what the API wants") {
            let output = try trace("--live", "--from", "external", "default/kubernetes")
            return output.succeeded && output.text.contains("the kernel's table does the same") ? nil : output.text
        }
        let json = try trace("--output", "json", "default/kubernetes")
        #expect(try JSONValue.parse(json.text)["outcomes"]?[0]?["outcome"]?.string == "endpoint")
        let rejected = try trace("default/kubernetes:444")
        #expect(rejected.status == 1 && rejected.text.contains("rejected"), "\(rejected.text)")
        // The namespace beside the node's has no table.
        let elsewhere = try trace("--live", "--netns", "/proc/self/ns/net", "default/kubernetes")
        #expect(elsewhere.status == 2 && elsewhere.text.contains("WRONG"), "\(elsewhere.text)")
        #expect(try trace("default/nothing").status == 3)
    }

    @Test("two clusters stand side by side, and one goes without the other")
    func sideBySide() throws {
        let machine = try OtherMachine()
        try up(machine, nodes: 1)
        let other = machine.directory + "/d"
        let second = try machine.weft("up", "--nodes", "1", "--dir", other, "--without-dns")
        #expect(second.succeeded, "\(second.text)")
        #expect(try machine.weft("down", "--dir", other).succeeded)
        #expect(try machine.weft("status", "--dir", machine.cluster).succeeded)
    }

    @Test("after kill -9 of every program, and of the supervisor, down leaves nothing behind")
    func killed() throws {
        let machine = try OtherMachine()
        try up(machine)
        let id = try clusterID(machine)
        for name in ["supervisor", "control", "node-1", "node-2"] { kill(try pid(machine, name), SIGKILL) }
        let status = try machine.weft("status", "--dir", machine.cluster)
        #expect(!status.succeeded && status.text.contains("does not run"), "\(status.text)")
        let again = try machine.weft("up", "--dir", machine.cluster)
        #expect(!again.succeeded && again.text.contains("weft down"), "\(again.text)")
        let down = try machine.weft("down", "--dir", machine.cluster)
        #expect(down.succeeded, "\(down.text)")
        #expect(try machine.remains() == [] as [String])
        #expect(try machine.controlGroups(id) == [])
    }

    @Test("a program that is killed comes back, and the cluster is well again", arguments: ["control", "node-1"])
    func restarted(name: String) throws {
        let machine = try OtherMachine()
        try up(machine)
        let before = try pid(machine, name)
        kill(before, SIGKILL)
        try eventually("\(name) runs again") { try pid(machine, name) == before ? "still \(before)" : nil }
        #expect(try machine.weft("up", "--dir", machine.cluster, "--restart", name).succeeded)
        try eventually("the cluster is well") {
            let status = try machine.weft("status", "--dir", machine.cluster)
            return status.succeeded ? nil : status.text
        }
    }

    @Test("Ctrl-C while it comes up takes down what was made", arguments: [20, 150, 400])
    func interrupted(milliseconds: UInt32) throws {
        let machine = try OtherMachine()
        let log = machine.directory + "/log"
        let command = try machine.start(
            ["\(OtherMachine.programs)/weft", "up", "--nodes", "2", "--dir", machine.cluster], log: log)
        usleep(milliseconds * 1000)
        kill(command, SIGINT)
        var status: Int32 = 0
        while waitpid(command, &status, 0) < 0, errno == EINTR {}
        if status == 0 {
            // It was quicker than we.
            #expect(try machine.weft("down", "--dir", machine.cluster).succeeded)
        }
        #expect(try machine.remains() == [], "\((try? Files.readText(log)) ?? "")")
    }

    @Test(
        "kill -9 of weft up itself, at any moment, leaves nothing that down does not find",
        arguments: [10, 60, 200, 500])
    func killedWhileUp(milliseconds: UInt32) throws {
        let machine = try OtherMachine()
        let command = try machine.start(
            ["\(OtherMachine.programs)/weft", "up", "--nodes", "2", "--dir", machine.cluster],
            log: machine.directory + "/log")
        usleep(milliseconds * 1000)
        kill(command, SIGKILL)
        waitpid(command, nil, 0)
        let id = try? clusterID(machine)
        let down = try machine.weft("down", "--dir", machine.cluster)
        #expect(down.succeeded, "\(down.text)")
        if Files.exists(machine.cluster) { rmdir(machine.cluster) }
        if let id { try eventually("its group is gone") { try machine.controlGroups(id).first } }
        #expect(try machine.remains() == [] as [String])
    }

    @Test("a port that is taken is refused by the name of who has it, and nothing is made")
    func portTaken() throws {
        let machine = try OtherMachine()
        let holder = try machine.start(
            ["socat", "TCP-LISTEN:6443,bind=0.0.0.0", "OPEN:/dev/null"], log: machine.directory + "/socat")
        defer {
            kill(holder, SIGKILL)
            waitpid(holder, nil, 0)
        }
        try eventually("socat listens") { try machine.run("ss", "-Hltn").text.contains("6443") ? nil : "not yet" }
        let refused = try machine.weft("up", "--dir", machine.cluster, "--port", "6443")
        #expect(!refused.succeeded)
        #expect(refused.text.contains("6443") && refused.text.contains("socat"), "\(refused.text)")
        #expect(try machine.remains().filter { !$0.contains("socat") } == [])
        let moved = try machine.weft("up", "--nodes", "1", "--dir", machine.cluster, "--without-dns")
        #expect(moved.succeeded && moved.text.contains(":6444"), "\(moved.text)")
    }

    @Test("a subnet that is in use, a full folder, and a nobody are refused with what to do")
    func refusals() throws {
        let machine = try OtherMachine()
        try machine.run(
            "sh", "-c", "ip link add x0 type veth peer name x1; ip link set x0 up; ip addr add 172.31.9.1/24 dev x0")
        let subnet = try machine.weft("up", "--dir", machine.cluster, "--subnet", "172.31.9.0/24")
        #expect(!subnet.succeeded && subnet.text.contains("172.31.9.0/24"), "\(subnet.text)")
        try machine.run("ip", "link", "del", "x0")

        let full = try machine.weft("up", "--dir", machine.directory)
        #expect(!full.succeeded && full.text.contains("not empty"), "\(full.text)")
        let long = try machine.weft("up", "--dir", machine.directory + "/" + String(repeating: "x", count: 90))
        #expect(!long.succeeded && long.text.contains("too long"), "\(long.text)")
        let nodes = try machine.weft("up", "--dir", machine.cluster, "--nodes", "0")
        #expect(!nodes.succeeded && nodes.text.contains("--nodes"), "\(nodes.text)")
        let nobody = try machine.run(
            "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "\(OtherMachine.programs)/weft", "up",
            "--dir",
            machine.cluster)
        #expect(!nobody.succeeded && nobody.text.contains("root"), "\(nobody.text)")
        let missing = try machine.run(
            "env", "PATH=/nonexistent", "\(OtherMachine.programs)/weft", "up", "--dir", machine.cluster)
        #expect(!missing.succeeded && missing.text.contains("apt-get install crun"), "\(missing.text)")
        #expect(try machine.remains() == [] as [String])
    }
}
