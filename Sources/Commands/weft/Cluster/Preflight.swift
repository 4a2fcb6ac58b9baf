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

    /// The API server's port: the one that was asked for, or the first free one from 6443.
    static func choosePort(_ wish: UInt16?) throws -> UInt16 {
        if let wish {
            guard let holder = PortHolder.of(wish) else { return wish }
            throw Refusal("port \(wish) is taken by \(holder)", hint: "choose another --port, or leave it away")
        }
        for port in UInt16(6443)..<6543 where PortHolder.of(port) == nil { return port }
        throw Refusal("the ports 6443 to 6542 are all taken", hint: "choose a --port")
    }
}
