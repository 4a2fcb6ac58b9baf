import Bytes
import Glibc
import JSON
import Reactor

/// The attachments of a node on disk: one small file each, written whole and renamed into place, so that a reader finds the old
/// state or the new one.
///
/// Nothing is synced to the platter: what must survive is the death of a process, and the page cache does that. The death of the
/// machine takes all pods with it; a record of an earlier boot is void, and `open` forgets it.
///
/// One process at a time has a store: the daemon for its life, or a stand-alone plugin for one call.
public final class AttachmentStore: Sendable {
    /// Of a larger file, nothing is believed.
    static let maximumRecord = 16 << 10
    /// More records than a node has pods by orders of magnitude; what lies beyond is not read.
    static let maximumRecords = 65_536

    private let directory: String
    private let lock: CInt

    /// A record, and since when the attachment is gone (seconds of the wall clock) if its addresses only rest.
    public struct Record: Hashable, Sendable {
        public var attachment: PodAttachment
        public var releasedAt: Int64?
    }

    /// Opens and locks the store, waiting at most `timeout` milliseconds for another process to let go of it.
    public static func open(_ directory: String, bootID: String, timeout: Int = 0) throws -> (AttachmentStore, [Record])
    {
        try Files.makeDirectories(directory)
        let store = AttachmentStore(directory: directory, lock: try Self.lock(directory, timeout: timeout))
        return (store, try store.load(bootID: bootID))
    }

    private init(directory: String, lock: CInt) {
        self.directory = directory
        self.lock = lock
    }

    deinit { close(lock) }

    private static func lock(_ directory: String, timeout: Int) throws -> CInt {
        let path = directory + "/lock"
        let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemError(errno: errno, call: "open", subject: path) }
        var waited = 0
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            let reason = errno
            guard reason == EWOULDBLOCK || reason == EINTR, waited < timeout else {
                close(descriptor)
                throw SystemError(errno: reason, call: "lock", subject: path)
            }
            usleep(1000)
            waited += 1
        }
        return descriptor
    }

    private func load(bootID: String) throws -> [Record] {
        let boot = directory + "/boot"
        let known = (try? Files.read(boot, limit: 128)).map { String(decoding: $0, as: UTF8.self) }
        let names = try Files.list(directory).filter { $0.hasSuffix(Self.suffix) }.prefix(Self.maximumRecords)
        guard known == bootID else {
            for name in names { unlink(directory + "/" + name) }
            try Files.writeAtomically(boot, Array(bootID.utf8), mode: 0o600, sync: false)
            return []
        }
        return names.compactMap { name in
            guard let bytes = try? Files.read(directory + "/" + name, limit: Self.maximumRecord),
                let json = try? JSONValue.parse(bytes), let attachment = PodAttachment(json: json),
                Self.fileName(attachment.id) == name
            else {
                // Half a file, from a full disk or a foreign hand: it names no one whom an address could be kept for.
                unlink(directory + "/" + name)
                return nil
            }
            return Record(attachment: attachment, releasedAt: json["releasedAt"]?.int)
        }
    }

    private static let suffix = ".json"
    /// An id's characters are all safe in a file name; `@` is in neither part.
    private static func fileName(_ id: AttachmentID) -> String { "\(id.containerID)@\(id.interface)\(suffix)" }

    public func save(_ record: Record) throws {
        var json = record.attachment.json
        if let releasedAt = record.releasedAt { json["releasedAt"] = .int(releasedAt) }
        try Files.writeAtomically(
            directory + "/" + Self.fileName(record.attachment.id), json.encoded(), mode: 0o600, sync: false)
    }

    public func remove(_ id: AttachmentID) {
        unlink(directory + "/" + Self.fileName(id))
    }

    /// The machine's boot, as the kernel names it.
    public static func currentBootID() -> String {
        let bytes = (try? Files.read("/proc/sys/kernel/random/boot_id", limit: 128)) ?? []
        return String(decoding: bytes.prefix { $0 != 0x0A }, as: UTF8.self)
    }
}
