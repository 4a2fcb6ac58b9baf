import Bytes
import Glibc
import Reactor

/// Folders, links and ownership on this node. Blocking; called off the loops where it may take long.
enum Directory {
    /// Makes the folder and those above it. The mode is that of the last one, whether it existed or not.
    static func make(_ path: String, mode: mode_t = 0o755) throws(SystemError) {
        if mkdir(path, mode) == 0 {
            _ = chmod(path, mode)
            return
        }
        switch errno {
        case EEXIST:
            guard Files.isDirectory(path) else { throw SystemError(errno: ENOTDIR, call: "mkdir", subject: path) }
        case ENOENT:
            let parent = parent(of: path)
            guard parent != path else { throw SystemError(errno: ENOENT, call: "mkdir", subject: path) }
            try make(parent)
            guard mkdir(path, mode) == 0 || errno == EEXIST else {
                throw SystemError(errno: errno, call: "mkdir", subject: path)
            }
            _ = chmod(path, mode)
        default:
            throw SystemError(errno: errno, call: "mkdir", subject: path)
        }
    }

    static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
        return String(path[..<slash])
    }

    /// Whether there is anything under this name, be it a link that leads nowhere.
    static func exists(_ path: String) -> Bool {
        var info = stat()
        return lstat(path, &info) == 0
    }

    /// Names in a folder, sorted; none when it does not exist.
    static func names(_ path: String) -> [String] { (try? Files.list(path)) ?? [] }

    /// How long ago something was made or changed; without end for what is not there.
    static func age(of path: String) -> Duration {
        var info = stat()
        guard lstat(path, &info) == 0 else { return .seconds(Int64.max) }
        let changed = Timestamp(seconds: Int64(info.st_mtim.tv_sec), nanoseconds: Int32(info.st_mtim.tv_nsec))
        return max(.zero, Timestamp.now().duration(since: changed))
    }

    /// A symbolic link at `path`, replacing what link was there in one step.
    static func link(_ path: String, to target: String) throws(SystemError) {
        let temporary = path + ".tmp"
        _ = unlink(temporary)
        guard symlink(target, temporary) == 0 else {
            throw SystemError(errno: errno, call: "symlink", subject: temporary)
        }
        guard rename(temporary, path) == 0 else {
            let error = SystemError(errno: errno, call: "rename", subject: path)
            _ = unlink(temporary)
            throw error
        }
    }

    /// The path without symbolic links; nil when it does not exist.
    static func resolved(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// A new, empty file, or the emptied old one.
    static func touch(_ path: String, mode: mode_t = 0o644) throws(SystemError) {
        let fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, mode)
        guard fd >= 0 else { throw SystemError(errno: errno, call: "open", subject: path) }
        _ = fchmod(fd, mode)
        close(fd)
    }
}
