import Foundation
import Glibc
import Netlink

/// A network namespace of a test's own, with iproute2 looking into it. Gone with the object: nothing is mounted.
final class RouteNamespace {
    private let namespace: NamespaceHandle
    var descriptor: CInt { namespace.descriptor }

    init() throws { namespace = try NamespaceHandle.create() }

    struct Failure: Error { var text: String }

    func connection() throws -> RouteConnection { try RouteConnection(namespace: descriptor) }

    /// Runs a shell command in the namespace; its standard output.
    @discardableResult
    func run(_ command: String) throws -> String {
        let line = "nsenter --net=/proc/\(getpid())/fd/\(descriptor) sh -c '\(command)' 2>&1"
        guard let stream = popen(line, "re") else { throw Failure(text: "popen") }
        var output: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = fread(&buffer, 1, buffer.count, stream)
            if count == 0 { break }
            output += buffer[..<count]
        }
        let status = pclose(stream)
        let text = String(decoding: output, as: UTF8.self)
        guard status == 0 else { throw Failure(text: "\(command): \(text)") }
        return text
    }

    /// What `ip -j` says, object by object.
    func ip(_ arguments: String) throws -> [[String: Any]] {
        let text = try run("ip -j -d \(arguments)")
        let parsed = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]] ?? []
        return parsed.filter { !$0.isEmpty }
    }
}
