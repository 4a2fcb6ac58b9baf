import Glibc
import Reactor

/// The cgroup that holds every process of a cluster, whatever became of its parents: how `weft down` finds them all.
///
/// In each tree that is mounted it is `/weft/ID`. The programs are in its `system` leaf in one tree; pods are below it wherever the
/// OCI runtime put them.
struct ControlGroup: Sendable {
    private let trees: [String]
    /// `/weft/ID`.
    let path: String

    private static let root = "/sys/fs/cgroup"
    private static let cgroup2Magic = 0x6367_7270
    private static let cgroupMagic = 0x27_E0EB

    init(_ path: String) {
        self.path = path
        trees = Self.mountedTrees()
    }

    private static func mountedTrees() -> [String] {
        if magic(root) == cgroup2Magic { return [root] }
        let names = (try? Files.list(root)) ?? []
        return names.map { "\(root)/\($0)" }.filter { [cgroupMagic, cgroup2Magic].contains(magic($0)) }
    }

    private static func magic(_ path: String) -> Int {
        guard let line = mountType(path) else { return 0 }
        return line == "cgroup2" ? cgroup2Magic : line == "cgroup" ? cgroupMagic : 0
    }

    /// The file system mounted exactly at `path`.
    private static func mountType(_ path: String) -> String? {
        MountTable.read().last { $0.path == path }?.type
    }

    /// The tree in which the programs are kept: the unified one if there is, which the OCI runtime leaves alone in mixed layouts.
    private var home: String? {
        trees.first { Self.magic($0) == Self.cgroup2Magic } ?? trees.first { $0.hasSuffix("/pids") } ?? trees.first
    }

    /// Moves the calling process, and what it starts from now on, into the cluster's group.
    func join() throws {
        guard let home else {
            throw Refusal("no cgroups are mounted at \(Self.root)", hint: "mount them, or boot a kernel with cgroups")
        }
        let leaf = home + path + "/system"
        try Files.makeDirectories(leaf)
        try Files.writeInPlace(leaf + "/cgroup.procs", "\(getpid())")
    }

    /// Moves the calling process out again, and removes the group if it was the last.
    func leave() {
        if let home { try? Files.writeInPlace(home + "/cgroup.procs", "\(getpid())") }
        remove()
    }

    /// Every process in the group, in any tree.
    func members() -> Set<pid_t> {
        var found: Set<pid_t> = []
        for tree in trees {
            visit(tree + path) { directory in
                guard let text = try? Files.readText(directory + "/cgroup.procs", limit: 4 << 20) else { return }
                for line in text.split(separator: "\n") { if let id = pid_t(line), id > 1 { found.insert(id) } }
            }
        }
        return found.subtracting([getpid()])
    }

    /// Kills until nothing is left; false when something survives `seconds`.
    func kill(seconds: Double = 10) -> Bool {
        var waited = 0.0
        while true {
            let members = members()
            if members.isEmpty { return true }
            guard waited < seconds else { return false }
            for id in members { Glibc.kill(id, SIGKILL) }
            usleep(5_000)
            waited += 0.005
        }
    }

    /// Removes the empty groups, deepest first. One whose last process is still on its way out is busy for a moment.
    func remove() {
        for tree in trees {
            for _ in 0..<200 {
                visit(tree + path) { rmdir($0) }
                guard Files.exists(tree + path), members().isEmpty else { break }
                usleep(5_000)
            }
            rmdir(tree + "/weft")
        }
    }

    /// Calls `body` for the directory and all below it, deepest first.
    private func visit(_ directory: String, _ body: (String) -> Void) {
        guard let names = try? Files.list(directory) else { return }
        for name in names where Files.isDirectory("\(directory)/\(name)") { visit("\(directory)/\(name)", body) }
        body(directory)
    }
}
