import Bytes
import Glibc
import Reactor

/// What must hold before anything is made; each refusal says what to do.
enum Preflight {
    static func mustBeRoot() throws {
        guard geteuid() == 0 else {
            throw Refusal(
                "weft makes network namespaces, bridges and containers, and needs root for it", hint: "run it with sudo"
            )
        }
    }

    static func mustHavePrograms() throws {
        for (program, package) in [("crun", "crun"), ("conmon", "conmon")] where findOnPath(program) == nil {
            throw Refusal("\(program) is missing", hint: "apt-get install \(package)")
        }
        for program in [Programs.control, Programs.node] where access(Programs.path(program), X_OK) != 0 {
            throw Refusal(
                "\(program) is not beside weft, at \(Programs.path(program))",
                hint: "build or install all of Weft's programs")
        }
    }

    private static func findOnPath(_ program: String) -> String? {
        let path =
            getenv("PATH").map { String(cString: $0) } ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return path.split(separator: ":").map { "\($0)/\(program)" }.first { access($0, X_OK) == 0 }
    }

    /// The folder is free: not there, empty, or of a cluster that is gone.
    static func mustBeFree(_ directory: String) throws {
        if let record = try ClusterRecord.load(directory) {
            if Supervisor.identity(record)?.isRunning == true {
                throw Refusal(
                    "a cluster is already up in \(directory)",
                    hint: "weft status --dir \(directory), or weft down --dir \(directory), or another --dir")
            }
            throw Refusal(
                "\(directory) holds what a cluster left that did not end by weft down",
                hint: "weft down --dir \(directory) takes it away")
        }
        guard Files.exists(directory) else { return }
        guard Files.isDirectory(directory) else {
            throw Refusal("\(directory) is not a folder", hint: "choose another --dir")
        }
        let names = try Files.list(directory)
        guard names.isEmpty else {
            throw Refusal(
                "\(directory) is not empty (\(names[0]) …) and holds no cluster", hint: "choose another --dir")
        }
    }

    /// A unix socket's path has 108 bytes, and the longest below the folder takes about this many of them.
    private static let deepestPath = 40
    private static let socketPathLimit = 107

    static func mustBeShort(_ directory: String) throws {
        let limit = socketPathLimit - deepestPath
        guard directory.utf8.count <= limit else {
            throw Refusal(
                "\(directory) is too long a name: sockets below it must fit into \(socketPathLimit) bytes",
                hint: "choose a --dir of at most \(limit) bytes")
        }
    }

    /// The API server's port at `address`: the one that was asked for, or the first free one from 6443.
    static func choosePort(_ wish: UInt16?, at address: IPAddress) throws -> UInt16 {
        if let wish {
            guard let holder = PortHolder.of(wish, at: address) else { return wish }
            throw Refusal("port \(wish) is taken by \(holder)", hint: "choose another --port, or leave it away")
        }
        for port in UInt16(6443)..<6543 where PortHolder.of(port, at: address) == nil { return port }
        throw Refusal("the ports 6443 to 6542 are all taken", hint: "choose a --port")
    }
}
