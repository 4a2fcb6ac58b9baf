import Glibc
import Reactor

/// Writes a payload so that readers see all of the old files or all of the new ones: the files are in a folder with a time as its
/// name, `..data` points to it, and the visible names are links through `..data`. The layout is the kubelet's, and programs watch for it.
struct AtomicVolume {
    var directory: String
    var group: UInt32?

    private var dataLink: String { directory + "/..data" }

    /// Brings the folder to just this payload; false when it already was so.
    @discardableResult
    func write(_ payload: VolumePayload, stamp: String) throws -> Bool {
        var payload = payload
        // With an fsGroup its members may read, as with the kubelet.
        if group != nil { for path in payload.files.keys { payload.files[path]?.mode |= 0o040 } }
        if current() == payload { return false }
        let name = "..\(stamp)"
        let fresh = "\(directory)/\(name)"
        try Directory.make(fresh)
        for (path, file) in payload.files {
            let target = "\(fresh)/\(path)"
            try Directory.make(Directory.parent(of: target))
            try Files.writeAtomically(target, file.bytes, mode: mode_t(file.mode), sync: false)
            if chmod(target, mode_t(file.mode)) != 0 {
                throw SystemError(errno: errno, call: "chmod", subject: target)
            }
            if let group, chown(target, uid_t.max, group) != 0 {
                throw SystemError(errno: errno, call: "chown", subject: target)
            }
        }
        try Directory.link(dataLink, to: name)
        let visible = Set(payload.files.keys.map { String($0.prefix { $0 != "/" }) })
        for name in visible where !Directory.exists("\(directory)/\(name)") {
            try Directory.link("\(directory)/\(name)", to: "..data/\(name)")
        }
        for name in Directory.names(directory) where !name.hasPrefix("..") && !visible.contains(name) {
            unlink("\(directory)/\(name)")
        }
        // The folder before this one, and any that a crash left.
        for old in Directory.names(directory) where old.hasPrefix("..") && old != "..data" && old != name {
            try Files.removeTree("\(directory)/\(old)")
        }
        return true
    }

    /// What the volume shows now; nil when nothing was written yet.
    private func current() -> VolumePayload? {
        guard Directory.exists(dataLink) else { return nil }
        var files: [String: VolumePayload.File] = [:]
        func read(_ folder: String, _ prefix: String) {
            for name in Directory.names(folder) {
                let path = "\(folder)/\(name)"
                if Files.isDirectory(path) {
                    read(path, "\(prefix)\(name)/")
                } else if let bytes = try? Files.read(path, limit: VolumePayload.sizeLimit) {
                    var info = stat()
                    guard stat(path, &info) == 0 else { continue }
                    files[prefix + name] = VolumePayload.File(bytes: bytes, mode: UInt32(info.st_mode & 0o777))
                }
            }
        }
        read(dataLink, "")
        var payload = VolumePayload()
        payload.files = files
        return payload
    }
}
