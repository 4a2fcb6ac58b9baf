import CLinux
import Glibc
import Testing

@testable import Reactor

/// Running out of descriptors is a state of the whole process, so it is tried in a child: this same test program, told
/// by its environment to run this one test.
@Suite struct DescriptorExhaustionTests {
    private static let isChild = getenv("WEFT_TEST_DESCRIPTORS") != nil

    @Test(
        "with no descriptors left a listener sheds what waits, and serves again when there are some",
        .disabled(if: isChild))
    func exhaustion() async throws {
        try await withLoops { group in
            var configuration = ChildProcess.Configuration(CommandLine.arguments)
            configuration.arguments[0] = try #require(Self.ownPath)
            configuration.arguments = Self.onlyThisTest(configuration.arguments)
            configuration.environment = environmentStrings() + ["WEFT_TEST_DESCRIPTORS=1"]
            let output = try await ChildProcess.run(configuration, on: group.all[0], timeout: .seconds(120))
            #expect(output.status.isSuccess, "\(output.text)\n\(output.errorText)")
            #expect(
                (output.text + output.errorText).contains("come back\" passed"), "\(output.text) \(output.errorText)")
        }
    }

    @Test("in a process of its own: descriptors run out and come back", .enabled(if: isChild))
    func inChild() async throws {
        try await withLoops { group in
            let loop = group.all[1]
            let listener = try await loop.perform {
                try Listener(anyPort, on: loop) { socket in
                    final class Echo: StreamHandler, @unchecked Sendable {
                        override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
                            stream.write(bytes)
                            return bytes.count
                        }
                    }
                    socket.handler = Echo()
                }
            }
            // Clients whose sockets stand before all other descriptors are gone.
            let late = try (0..<4).map { _ in try openSocket(AF_INET, SOCK_STREAM_) }
            var limit = rlimit()
            getrlimit(CInt(RLIMIT_NOFILE.rawValue), &limit)
            limit.rlim_cur = rlim_t((late.max() ?? 64) + 32)
            setrlimit(CInt(RLIMIT_NOFILE.rawValue), &limit)
            var hoard: [CInt] = []
            while true {
                let fd = open("/dev/null", O_RDONLY | O_CLOEXEC)
                guard fd >= 0 else { break }
                hoard.append(fd)
            }
            for client in late {
                _ = try listener.address.withKernelAddress { (pointer, length) in connect(client, pointer, length) }
            }
            var shed = 0
            let deadline = MonotonicTime.now().adding(.seconds(60))
            while shed == 0, MonotonicTime.now() < deadline {
                try await group.all[0].sleep(for: .milliseconds(5))
                shed = try await loop.perform { listener.shed }
            }
            #expect(shed > 0)
            for fd in hoard + late { close(fd) }
            let connection = try await StreamConnection.connect(to: listener.address, on: group.all[0])
            try await connection.write([42])
            let back = try await withTimeout(.seconds(60), on: group.all[0]) { try await connection.read() }
            #expect(back == [42])
        }
    }

    private static var ownPath: String? {
        var room = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &room, room.count)
        return count > 0 ? String(decoding: room.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
    }

    private static func onlyThisTest(_ arguments: [String]) -> [String] {
        var kept: [String] = []
        var skipping = false
        for argument in arguments {
            if skipping {
                skipping = false
            } else if argument == "--filter" || argument == "--skip" || argument == "--event-stream-output-path"
                || argument == "--xunit-output"
            {
                skipping = true
            } else {
                kept.append(argument)
            }
        }
        return kept + ["--filter", "DescriptorExhaustionTests"]
    }

    private func environmentStrings() -> [String] {
        var strings: [String] = []
        var at = weft_environment()
        while let entry = at?.pointee {
            strings.append(String(cString: entry))
            at = at?.advanced(by: 1)
        }
        return strings
    }
}
