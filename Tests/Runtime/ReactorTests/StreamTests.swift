import Bytes
import Glibc
import Synchronization
import Testing

@testable import Reactor

/// Sends back what it gets, and FIN for FIN.
private final class Echo: StreamHandler, @unchecked Sendable {
    override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
        if !stream.write(bytes) { stream.pauseReading() }
        return bytes.count
    }
    override func streamDidDrain(_ stream: StreamSocket) { stream.resumeReading() }
    override func streamDidEnd(_ stream: StreamSocket) { stream.shutdownWrite() }
}

let anyPort = SocketAddress.ip(.loopbackV4, 0)

@Suite struct StreamTests {
    @Test(
        "bytes and ends of streams come back through TCP, IPv6, Unix and abstract sockets",
        arguments: [
            anyPort, .ip(.loopbackV6, 0),
            .unix(path: "/tmp/weft-test-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"),
            .abstract(name: "weft-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"),
        ])
    func echo(address: SocketAddress) async throws {
        try await withLoops { group in
            let listeners = try await Listener.listen(address, on: group) { $0.handler = Echo() }
            let connection = try await StreamConnection.connect(to: listeners[0].address, on: group.all[1])
            var random = SplitMix64(seed: 3)
            for _ in 0..<50 {
                let message = (0..<Int.random(in: 1...100_000, using: &random)).map { UInt8(truncatingIfNeeded: $0) }
                async let written: Void = connection.write(message)
                let back = try await connection.read(exactly: message.count)
                try await written
                #expect(back == message)
            }
            await connection.shutdownWrite()
            let end = try await connection.read()
            #expect(end.isEmpty)
            for listener in listeners { listener.close() }
        }
    }

    @Test("a port that anybody listens on is refused, though the loops of one listener share it")
    func takenPort() async throws {
        try await withLoops { group in
            let first = try await Listener.listen(anyPort, on: group) { $0.handler = Echo() }
            #expect(first.count == group.all.count)
            await #expect(throws: SystemError.self) {
                _ = try await Listener.listen(first[0].address, on: group) { $0.handler = Echo() }
            }
            for listener in first { listener.close() }
        }
    }

    @Test("a half-closed client still gets the whole answer")
    func halfClose() async throws {
        try await withLoops { group in
            final class AnswerAtEnd: StreamHandler, @unchecked Sendable {
                var seen = 0
                override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
                    seen += bytes.count
                    return bytes.count
                }
                override func streamDidEnd(_ stream: StreamSocket) {
                    stream.write([UInt8](repeating: 7, count: 3_000_000 + seen))
                    stream.closeAfterWrite()
                }
            }
            let listener = try await Listener.listen(anyPort, on: group) { $0.handler = AnswerAtEnd() }
            let connection = try await StreamConnection.connect(to: listener[0].address, on: group.all[0])
            try await connection.write([1, 2, 3])
            await connection.shutdownWrite()
            let answer = try await connection.readToEnd(limit: 10_000_000)
            #expect(answer.count == 3_000_003)
        }
    }

    @Test("a slow reader stops the writer at the high-water mark, and the writer goes on when it has read")
    func slowReader() async throws {
        try await withLoops { group in
            final class Firehose: StreamHandler, @unchecked Sendable {
                var sent = 0
                var highest = 0
                let stopped = Promise<Int>()
                func pour(_ stream: StreamSocket) {
                    while sent < 64 << 20 {
                        let more = stream.write([UInt8](repeating: 1, count: 32 << 10))
                        sent += 32 << 10
                        highest = max(highest, stream.queuedOutput)
                        if !more {
                            stopped.succeed(sent)
                            return
                        }
                    }
                    stream.closeAfterWrite()
                }
                override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
                    pour(stream)
                    return bytes.count
                }
                override func streamDidDrain(_ stream: StreamSocket) { pour(stream) }
            }
            let handler = Firehose()
            let listener = try await Listener.listen(anyPort, on: group) { $0.handler = handler }
            let connection = try await StreamConnection.connect(to: listener[0].address, on: group.all[1])
            try await connection.write([1])
            let stoppedAt = try await handler.stopped.value()
            #expect(stoppedAt < 32 << 20, "the kernel's buffers and ours should be full long before")
            let all = try await connection.readToEnd(limit: 65 << 20)
            #expect(all.count == 64 << 20)
            #expect(handler.highest <= StreamOptions().highWaterMark + 64 << 10)
        }
    }

    @Test("a writer that ignores back-pressure is closed at the output limit")
    func outputLimit() async throws {
        try await withLoops { group in
            final class Careless: StreamHandler, @unchecked Sendable {
                let closed = Promise<SystemError?>()
                override func streamDidConnect(_ stream: StreamSocket) {
                    while !stream.isClosed { stream.write([UInt8](repeating: 1, count: 1 << 20)) }
                }
                override func streamDidClose(_ stream: StreamSocket, _ error: SystemError?) { closed.succeed(error) }
            }
            let silent = Mutex<[StreamConnection]>([])
            let listener = try await Listener.listen(anyPort, on: group) { socket in
                silent.withLock { $0.append(StreamConnection(socket)) }
            }
            let handler = Careless()
            let address = listener[0].address
            try await group.all[0].perform {
                var options = StreamOptions()
                options.outputLimit = 16 << 20
                _ = try StreamSocket.connect(to: address, on: group.all[0], options: options, handler: handler)
            }
            let error = try await handler.closed.value()
            #expect(error?.errno == ENOBUFS)
        }
    }

    @Test("what a handler leaves is offered again with what follows, and too much of it closes the stream")
    func leftovers() async throws {
        try await withLoops { group in
            final class Lines: StreamHandler, @unchecked Sendable {
                let closed = Promise<SystemError?>()
                override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
                    guard let end = bytes.lastIndex(of: 10) else { return 0 }
                    stream.write(UnsafeRawBufferPointer(rebasing: bytes[...end]))
                    return end + 1
                }
                override func streamDidClose(_ stream: StreamSocket, _ error: SystemError?) { closed.succeed(error) }
            }
            let handler = Lines()
            let listener = try await Listener.listen(anyPort, on: group) { $0.handler = handler }
            let connection = try await StreamConnection.connect(to: listener[0].address, on: group.all[1])
            let line = Array(repeating: UInt8(ascii: "x"), count: 9000) + [10]
            for part in stride(from: 0, to: line.count, by: 700) {
                try await connection.write(Array(line[part..<min(part + 700, line.count)]))
                await Task.yield()
            }
            let back = try await connection.read(exactly: line.count)
            #expect(back == line)
            let flood = Task { try await connection.write([UInt8](repeating: 1, count: 4 << 20)) }
            let error = try await handler.closed.value()
            #expect(error?.errno == EMSGSIZE)
            flood.cancel()
            _ = await flood.result
        }
    }

    @Test("a paused stream keeps its input and offers it when resumed")
    func pause() async throws {
        try await withLoops { group in
            let listener = try await Listener.listen(anyPort, on: group) { $0.handler = Echo() }
            let connection = try await StreamConnection.connect(to: listener[0].address, on: group.all[1])
            try await connection.write(Array("one two three".utf8))
            let bytes = try await connection.read(limit: 4)
            #expect(bytes == Array("one ".utf8))
            let rest = try await connection.read(exactly: 9)
            #expect(rest == Array("two three".utf8))
        }
    }

    @Test("connecting fails with the reason: refused, timed out, cancelled, no such path")
    func connectFails() async throws {
        try await withLoops { group in
            let loop = group.all[1]
            // An address of its own: no other test's port can be met there.
            let listener = try await Listener.listen(.ip(IPAddress(v4: 127, 77, 1, 1), 0), on: group) {
                $0.handler = Echo()
            }
            let address = listener[0].address
            for one in listener {
                one.close()
                try await one.loop.perform {}
            }
            await #expect { _ = try await StreamConnection.connect(to: address, on: loop) } throws: {
                ($0 as? SystemError)?.errno == ECONNREFUSED
            }
            await #expect {
                _ = try await StreamConnection.connect(to: .unix(path: "/nonexistent/sock"), on: loop)
            } throws: {
                ($0 as? SystemError)?.errno == ENOENT
            }
            await #expect {
                _ = try await StreamConnection.connect(to: .unix(path: String(repeating: "x", count: 200)), on: loop)
            } throws: {
                ($0 as? SystemError)?.errno == ENAMETOOLONG
            }
            // A listener whose backlog is full answers no SYN: that is what a time-out meets.
            let full = try openSocket(AF_INET, SOCK_STREAM_)
            defer { Glibc.close(full) }
            try anyPort.withKernelAddress { (pointer, length) throws(SystemError) in
                _ = try checked("bind") { bind(full, pointer, length) }
            }
            listen(full, 0)
            let deaf = try #require(SocketAddress.local(of: full))
            var held: [StreamConnection] = []
            let started = MonotonicTime.now()
            do {
                for _ in 0..<8 {
                    held.append(try await StreamConnection.connect(to: deaf, on: loop, timeout: .milliseconds(50)))
                }
                Issue.record("a full backlog accepted eight connections")
            } catch let error as SystemError {
                #expect(error.errno == ETIMEDOUT)
                #expect(MonotonicTime.now().duration(since: started) < .seconds(20))
            }
            let hanging = Task { try await StreamConnection.connect(to: deaf, on: loop, timeout: .seconds(60)) }
            try await loop.sleep(for: .milliseconds(5))
            hanging.cancel()
            await #expect(throws: CancellationError.self) { _ = try await hanging.value }
        }
    }

    @Test("a peer's reset ends reads and writes with an error, once")
    func reset() async throws {
        try await withLoops { group in
            let accepted = Promise<StreamSocket>()
            let listener = try await Listener.listen(anyPort, on: group) {
                $0.handler = Echo()
                accepted.succeed($0)
            }
            let connection = try await StreamConnection.connect(to: listener[0].address, on: group.all[1])
            let socket = try await accepted.value()
            socket.loop.execute { socket.reset() }
            await #expect { _ = try await connection.read() } throws: { ($0 as? SystemError)?.errno == ECONNRESET }
            await #expect(throws: SystemError.self) { try await connection.write([1]) }
        }
    }

    @Test("a paused stream whose peer resets is closed though nobody reads")
    func resetWhilePaused() async throws {
        try await withLoops { group in
            final class Paused: StreamHandler, @unchecked Sendable {
                let closed = Promise<SystemError?>()
                let began = Promise<Void>()
                override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
                    stream.pauseReading()
                    began.succeed(())
                    return 0
                }
                override func streamDidClose(_ stream: StreamSocket, _ error: SystemError?) { closed.succeed(error) }
            }
            let handler = Paused()
            let listener = try await Listener.listen(anyPort, on: group) { $0.handler = handler }
            let (loop, address) = (group.all[0], listener[0].address)
            let client = try await loop.perform {
                try StreamSocket.connect(to: address, on: loop, handler: StreamHandler())
            }
            try await loop.perform { _ = client.write([1, 2, 3]) }
            try await handler.began.value()
            try await loop.perform { client.reset() }
            let error = try await withTimeout(.seconds(60), on: loop) { try await handler.closed.value() }
            #expect(error?.errno == ECONNRESET)
        }
    }

    @Test("an idle connection holds no buffer, and 10 000 of them are served by one loop")
    func idle() async throws {
        let limit = raiseDescriptorLimit()
        let wanted = min(10_000, (limit - 500) / 2)
        try await withLoops { group in
            let server = group.all[1]
            let name = SocketAddress.abstract(name: "weft-idle-\(getpid())-\(UInt32.random(in: 0 ... .max))")
            let listener = try await server.perform { try Listener(name, on: server) { $0.handler = Echo() } }
            var connections: [StreamConnection] = []
            for _ in 0..<wanted {
                connections.append(try await StreamConnection.connect(to: name, on: group.all[0]))
            }
            for connection in connections { try await connection.write([1, 2, 3]) }
            for connection in connections {
                let back = try await connection.read(exactly: 3)
                #expect(back == [1, 2, 3])
            }
            let open = try await server.perform { listener.connections }
            #expect(open == wanted)
            for loop in group.all {
                let onLoan = try await loop.perform { loop.pool.onLoan }
                #expect(onLoan == 0)
            }
            for connection in connections { connection.close() }
            connections = []
            var left = open
            let deadline = MonotonicTime.now().adding(.seconds(60))
            while left > 0, MonotonicTime.now() < deadline {
                try await group.all[0].sleep(for: .milliseconds(5))
                left = try await server.perform { listener.connections }
            }
            #expect(left == 0)
        }
    }

    @Test("at its limit of connections a listener leaves the next in the backlog until one closes")
    func acceptLimit() async throws {
        try await withLoops { group in
            let loop = group.all[1]
            let listener = try await loop.perform {
                var options = ListenerOptions()
                options.maximumConnections = 2
                return try Listener(anyPort, on: loop, options: options) { $0.handler = Echo() }
            }
            let first = try await StreamConnection.connect(to: listener.address, on: group.all[0])
            let second = try await StreamConnection.connect(to: listener.address, on: group.all[0])
            let third = try await StreamConnection.connect(to: listener.address, on: group.all[0])
            for connection in [first, second, third] { try await connection.write([9]) }
            _ = try await first.read()
            _ = try await second.read()
            let answer = Task { try await third.read() }
            try await loop.sleep(for: .milliseconds(20))
            let open = try await loop.perform { listener.connections }
            #expect(open == 2)
            first.close()
            let bytes = try await answer.value
            #expect(bytes == [9])
            second.close()
        }
    }
}
