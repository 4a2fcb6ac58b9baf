import Glibc
import JSON
import Reactor
import TestSupport
import Testing

@testable import weft

@Suite("Who asks may go at any time")
struct InterruptionTests {
    @Test(
        "a question that nobody answers ends with the signal", .enabled(if: BuiltPrograms.path("weft") != nil),
        arguments: [SIGINT, SIGTERM])
    func signals(signal: Int32) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                _ = bind(listener, pointer, length)
                _ = getsockname(listener, pointer, &length)
            }
        }
        try #require(listen(listener, 4) == 0)
        let folder = try ScratchFolder()
        let config = """
            apiVersion: v1
            kind: Config
            current-context: t
            clusters: [{name: t, cluster: {server: "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))"}}]
            contexts: [{name: t, context: {cluster: t, user: t}}]
            users: [{name: t, user: {token: t}}]
            """
        try Files.writeAtomically("\(folder.path)/config", config)
        // A shell's background jobs have SIGINT ignored, which env undoes.
        let shell = try ChildCommand([
            "sh", "-c",
            "env --default-signal=INT \"$0\" proxy status --kubeconfig \"$1\" & read line; kill -\(signal) $!; wait $!; echo status $?",
            try #require(BuiltPrograms.path("weft")), "\(folder.path)/config",
        ])
        // It waits for an answer by now.
        let connection = accept(listener, nil, nil)
        defer { close(connection) }
        #expect(shell.finish("go\n").output.hasSuffix("status \(128 + signal)\n"))
    }

    @Test("a tap whose reader has gone is over")
    func reader() {
        signal(SIGPIPE, SIG_IGN)
        var ends: [CInt] = [-1, -1]
        #expect(pipe(&ends) == 0)
        defer { close(ends[1]) }
        let printer = TapPrinter(output: .json, limit: nil, to: ends[1])
        printer.show(["path": "/"], of: "web-1")
        #expect(!printer.isOver)
        close(ends[0])
        printer.show(["path": "/"], of: "web-1")
        #expect(printer.isOver)
    }
}
