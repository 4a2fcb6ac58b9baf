import CLinux
import Glibc

/// Whole files, for configuration and state: plain blocking calls, so not for hot paths.
public enum Files {
    /// A file larger than this is refused unless the caller says otherwise.
    public static let defaultLimit = 64 << 20

    /// The whole file; `EFBIG` when it holds more than `limit` bytes. Also for `/proc` and pipes, whose size is unknown.
    public static func read(_ path: String, limit: Int = defaultLimit) throws(SystemError) -> [UInt8] {
        let fd = try checked("open", path) { Glibc.open(path, O_RDONLY | O_CLOEXEC) }
        defer { Glibc.close(fd) }
        var status = stat()
        _ = try checked("fstat", path) { fstat(fd, &status) }
        guard Int(status.st_size) <= limit else { throw SystemError(errno: EFBIG, call: "read", subject: path) }
        var bytes = [UInt8](repeating: 0, count: max(Int(status.st_size) + 1, 4096))
        var filled = 0
        while true {
            if filled == bytes.count { bytes.append(contentsOf: repeatElement(0, count: bytes.count)) }
            let count = bytes.withUnsafeMutableBytes { room in
                Glibc.read(fd, room.baseAddress.map { $0 + filled }, room.count - filled)
            }
            if count == 0 { break }
            if count < 0 {
                if errno == EINTR { continue }
                throw .last("read", path)
            }
            filled += count
            guard filled <= limit else { throw SystemError(errno: EFBIG, call: "read", subject: path) }
        }
        bytes.removeLast(bytes.count - filled)
        return bytes
    }

    /// As `read`; `EILSEQ` when it is not UTF-8.
    public static func readText(_ path: String, limit: Int = defaultLimit) throws(SystemError) -> String {
        let bytes = try read(path, limit: limit)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw SystemError(errno: EILSEQ, call: "read", subject: path)
        }
        return text
    }

    /// Replaces the file in one step: writes beside it and renames. Readers see the old bytes or the new, never a part.
    /// `sync`: neither is lost to a power cut once this returns (file and directory are synced).
    public static func writeAtomically(
        _ path: String, _ bytes: [UInt8], mode: UInt32 = 0o644, sync: Bool = false
    ) throws(SystemError) {
        let temporary = "\(path).\(getpid()).\(UInt64.random(in: 0 ... .max)).tmp"
        let fd = try checked("open", temporary) {
            Glibc.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode_t(mode))
        }
        do {
            defer { Glibc.close(fd) }
            _ = try checked("fchmod", temporary) { fchmod(fd, mode_t(mode)) }
            try write(bytes, to: fd, temporary)
            if sync { _ = try checked("fsync", temporary) { fsync(fd) } }
        } catch {
            unlink(temporary)
            throw error
        }
        do {
            _ = try checked("rename", path) { rename(temporary, path) }
        } catch {
            unlink(temporary)
            throw error
        }
        if sync { try syncDirectory(of: path) }
    }

    public static func writeAtomically(
        _ path: String, _ text: String, mode: UInt32 = 0o644, sync: Bool = false
    ) throws(SystemError) {
        try writeAtomically(path, Array(text.utf8), mode: mode, sync: sync)
    }

    /// Writes into what is there: `/proc/sys`, cgroup files, descriptors of devices.
    public static func writeInPlace(_ path: String, _ text: String) throws(SystemError) {
        let fd = try checked("open", path) { Glibc.open(path, O_WRONLY | O_CLOEXEC) }
        defer { Glibc.close(fd) }
        try write(Array(text.utf8), to: fd, path)
    }

    private static func write(_ bytes: [UInt8], to fd: CInt, _ path: String) throws(SystemError) {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(fd, $0.baseAddress.map { $0 + written }, $0.count - written)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw .last("write", path)
            }
            written += count
        }
    }

    private static func syncDirectory(of path: String) throws(SystemError) {
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let fd = try checked("open", directory) { Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        defer { Glibc.close(fd) }
        _ = try checked("fsync", directory) { fsync(fd) }
    }

    /// The directory and what is missing above it; no error when it is there.
    public static func makeDirectories(_ path: String, mode: UInt32 = 0o755) throws(SystemError) {
        var prefix = path.hasPrefix("/") ? "/" : ""
        for part in path.split(separator: "/") {
            prefix += (prefix.isEmpty || prefix.hasSuffix("/") ? "" : "/") + part
            if mkdir(prefix, mode_t(mode)) != 0, errno != EEXIST { throw .last("mkdir", prefix) }
        }
        guard isDirectory(path) else { throw SystemError(errno: ENOTDIR, call: "mkdir", subject: path) }
    }

    /// The names in a directory in byte order, without `.` and `..`.
    public static func list(_ path: String) throws(SystemError) -> [String] {
        guard let directory = opendir(path) else { throw .last("opendir", path) }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// Whether anything has that name, following links.
    public static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    public static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Unlinks a file or link; no error when it is not there.
    public static func remove(_ path: String) throws(SystemError) {
        if unlink(path) != 0, errno != ENOENT { throw .last("unlink", path) }
    }

    /// Removes a file, or a directory with all in it; follows no link and enters no other file system (`EXDEV`), so that
    /// a forgotten mount is never emptied. No error when it is not there.
    public static func removeTree(_ path: String) throws(SystemError) {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT { return }
            throw .last("lstat", path)
        }
        try removeTree(path, device: status.st_dev)
    }

    private static func removeTree(_ path: String, device: dev_t) throws(SystemError) {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT { return }
            throw .last("lstat", path)
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { return try remove(path) }
        guard status.st_dev == device else { throw SystemError(errno: EXDEV, call: "rmdir", subject: path) }
        for name in try list(path) { try removeTree("\(path)/\(name)", device: device) }
        if rmdir(path) != 0, errno != ENOENT { throw .last("rmdir", path) }
    }
}
