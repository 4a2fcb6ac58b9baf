import CLinux
import Glibc
import Testing

@testable import Reactor

@Suite struct ChildProcessTests {
    @Test("a child's status, output and errors come back, and its input arrives")
    func run() async throws {
        try await withLoops { group in
            let loop = group.all[1]
            let output = try await ChildProcess.run(
                .init(["sh", "-c", "cat; echo oops >&2; exit 3"]), on: loop, input: Array("hello".utf8))
            #expect(output.status == .exited(3))
            #expect(output.text == "hello")
            #expect(output.errorText == "oops")
        }
    }

    @Test("more input than a pipe holds goes through, also when the child reads none of it")
    func bigInput() async throws {
        try await withLoops { group in
            let input = (0..<2_000_000).map { UInt8(truncatingIfNeeded: $0) }
            let cat = try await ChildProcess.run(.init(["cat"]), on: group.all[0], input: input, outputLimit: 4 << 20)
            #expect(cat.stdout == input)
            let deaf = try await ChildProcess.run(.init(["true"]), on: group.all[0], input: input)
            #expect(deaf.status.isSuccess)
        }
    }

    @Test("output beyond the limit is read and dropped")
    func outputLimit() async throws {
        try await withLoops { group in
            let output = try await ChildProcess.run(
                .init(["sh", "-c", "head -c 1000000 /dev/zero"]), on: group.all[0], outputLimit: 1000)
            #expect(output.stdout.count == 1000)
            #expect(output.status.isSuccess)
        }
    }

    @Test("after the time-out the whole process group is killed")
    func timeout() async throws {
        try await withLoops { group in
            let started = MonotonicTime.now()
            await #expect(throws: TimeoutError.self) {
                _ = try await ChildProcess.run(
                    .init(["sh", "-c", "sleep 100 & sleep 100"]), on: group.all[0], timeout: .milliseconds(50))
            }
            #expect(MonotonicTime.now().duration(since: started) < .seconds(30))
        }
    }

    @Test("a grandchild that keeps the pipe open does not hold up the answer")
    func grandchild() async throws {
        try await withLoops { group in
            let output = try await ChildProcess.run(.init(["sh", "-c", "echo done; sleep 5 &"]), on: group.all[0])
            #expect(output.text == "done")
            #expect(output.status.isSuccess)
        }
    }

    @Test("a program or folder that does not exist is named with the call that failed")
    func missing() async throws {
        try await withLoops { group in
            let loop = group.all[1]
            await #expect {
                _ = try await ChildProcess.start(.init(["/no/such/program"]), on: loop)
            } throws: {
                String(describing: $0) == "execve /no/such/program: No such file or directory"
            }
            await #expect {
                var configuration = ChildProcess.Configuration(["true"])
                configuration.workingDirectory = "/no/such/folder"
                _ = try await ChildProcess.start(configuration, on: loop)
            } throws: {
                String(describing: $0) == "chdir /no/such/folder: No such file or directory"
            }
        }
    }

    @Test("a signal ends a child, and a signal to one that has ended says so")
    func kill() async throws {
        try await withLoops { group in
            let child = try await ChildProcess.start(.init(["sleep", "100"]), on: group.all[1])
            #expect(child.kill(SIGTERM))
            let status = try await child.exitStatus
            #expect(status == .signaled(SIGTERM))
            #expect(!child.kill(SIGTERM))
            #expect(child.finishedStatus == status)
        }
    }

    @Test("environment, folder, session and descriptors are the child's own, and no other descriptor is inherited")
    func surroundings() async throws {
        try await withLoops { group in
            let (reading, writing) = try ChildProcess.makePipe()
            var configuration = ChildProcess.Configuration(
                [
                    "/bin/sh", "-c",
                    "echo $NAME; pwd; ls /proc/self/fd | tr '\\n' ' '; echo; cut -d' ' -f6 /proc/$$/stat; echo five >&5",
                ])
            configuration.environment = ["NAME=weft", "PATH=/usr/bin:/bin"]
            configuration.workingDirectory = "/"
            configuration.newSession = true
            configuration.descriptors = [5: writing]
            let output = try await ChildProcess.run(configuration, on: group.all[0])
            close(writing)
            var room = [UInt8](repeating: 0, count: 16)
            let count = read(reading, &room, 16)
            close(reading)
            #expect(Array(room.prefix(max(0, count))) == Array("five\n".utf8))
            let lines = output.text.split(separator: "\n").map(String.init)
            #expect(lines.count == 4)
            #expect(lines.prefix(2) == ["weft", "/"])
            // 3 is the folder that ls itself reads.
            #expect(lines[2] == "0 1 2 3 5 ")
            #expect(Int32(lines[3]).map { $0 != getsid(0) } == true)
        }
    }

    @Test(
        "a child is started inside another network namespace, and a socket is made there", .enabled(if: getuid() == 0))
    func namespace() async throws {
        try await withLoops { group in
            let namespace = try NetworkNamespace.make()
            defer { close(namespace) }
            var configuration = ChildProcess.Configuration(["sh", "-c", "cat /proc/net/dev | grep -c :"])
            configuration.networkNamespace = namespace
            let output = try await ChildProcess.run(configuration, on: group.all[0])
            #expect(output.text == "1", "only loopback: \(output.errorText)")
            let inside = try NetworkNamespace.withEntered(namespace) {
                try Files.read("/proc/thread-self/net/dev").count
            }
            let again = try NetworkNamespace.withEntered(namespace) {
                try Files.read("/proc/thread-self/net/dev").count
            }
            #expect(inside == again)
        }
    }

    @Test("a hundred children at once are all reaped")
    func many() async throws {
        try await withLoops { group in
            try await withThrowingTaskGroup(of: ChildProcess.Status.self) { tasks in
                for code in 0..<100 {
                    tasks.addTask {
                        try await ChildProcess.start(.init(["sh", "-c", "exit \(code)"]), on: group.next).exitStatus
                    }
                }
                var seen: [Int32] = []
                for try await status in tasks { seen.append(status.code) }
                #expect(seen.sorted() == Array(0..<100))
            }
        }
    }
}

@Suite struct FilesTests {
    @Test("a file is replaced as a whole, read back, listed and removed")
    func files() throws {
        let folder = "/tmp/weft-files-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try Files.makeDirectories("\(folder)/a/b")
        defer { try? Files.removeTree(folder) }
        try Files.writeAtomically("\(folder)/a/x", "one", sync: true)
        try Files.writeAtomically("\(folder)/a/x", "two", mode: 0o600)
        #expect(try Files.readText("\(folder)/a/x") == "two")
        #expect(try Files.list("\(folder)/a") == ["b", "x"])
        #expect(throws: SystemError.self) { try Files.read("\(folder)/a/x", limit: 2) }
        #expect(throws: SystemError.self) { try Files.read("\(folder)/nothing") }
        #expect(try Files.read("/proc/self/stat").count > 10)
        symlink("/etc", "\(folder)/a/link")
        try Files.removeTree(folder)
        #expect(!Files.exists(folder))
        #expect(Files.exists("/etc/passwd"))
        try Files.removeTree(folder)
    }

    @Test("an error reads as a sentence")
    func sentence() {
        let error = SystemError(errno: EADDRINUSE, call: "bind", subject: "10.0.0.1:80")
        #expect("\(error)" == "bind 10.0.0.1:80: Address already in use")
    }
}

@Suite struct ResidentCodeTests {
    @Test("code that is given back is there again when it is called")
    func release() throws {
        #expect(ResidentCode.releaseStartup() > 0)
        #expect(try Files.readText("/proc/self/stat").isEmpty == false)
    }
}
