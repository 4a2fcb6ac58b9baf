import Foundation
import Glibc
import Testing

@testable import Netlink

/// A network namespace of a test's own with an nftables connection, and `nft` looking into it.
final class NFBench {
    let namespace: NamespaceHandle
    let connection: NFTablesConnection

    init() throws {
        namespace = try NamespaceHandle.create()
        connection = try NFTablesConnection(namespace: namespace.descriptor)
    }

    struct Failure: Error, CustomStringConvertible {
        var status: Int32
        var description: String
    }

    /// Runs `nft ARGUMENTS` in the namespace, with a script on its input if given; its output.
    @discardableResult
    func nft(_ arguments: String, input: String = "") throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/nsenter")
        process.arguments =
            ["--net=/proc/\(getpid())/fd/\(namespace.descriptor)", "nft"]
            + arguments.split(separator: " ").map(String.init)
        let (stdin, stdout) = (Pipe(), Pipe())
        process.standardInput = stdin
        process.standardOutput = stdout
        process.standardError = stdout
        try process.run()
        stdin.fileHandleForWriting.write(Data(input.utf8))
        try stdin.fileHandleForWriting.close()
        let output = String(decoding: stdout.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Failure(status: process.terminationStatus, description: output)
        }
        return output
    }

    /// The objects of `nft -j list ruleset` of one sort: `table`, `chain`, `set`, `map`, `rule`, `counter` …
    func listed(_ sort: String) throws -> [[String: Any]] {
        let text = try nft("-j list ruleset")
        let root = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
        return (root?["nftables"] as? [[String: Any]] ?? []).compactMap { $0[sort] as? [String: Any] }
    }
}
