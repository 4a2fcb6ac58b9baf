import CSQLite
import Glibc

/// The store's file: a table of writes in revision order, and how far it has been compacted.
///
/// A row is one write. Rows that a newer one replaced stay until history no longer needs them; what is left then is the
/// current state. Used by one thread at a time.
final class RevisionLog {
    /// "WEFT", in the file's header: another program's database is not ours to write into.
    private static let applicationID: Int64 = 0x5745_4654
    /// The shape of the tables. A newer shape is refused, never guessed at.
    private static let formatVersion: Int64 = 1
    /// Pages of write-ahead log (4 KiB each) after which the log is moved into the file.
    static let checkpointPages = 2048

    let path: String
    private let connection: SQLiteConnection
    private let insert: SQLiteStatement
    private let drop: SQLiteStatement
    private let setCompacted: SQLiteStatement
    private let begin: SQLiteStatement
    private let commit: SQLiteStatement

    /// Opens or makes the file and takes it for this process alone.
    init(path: String, vfs: String?) throws(StoreError) {
        self.path = path
        // Made here and not by SQLite so that nobody else on the machine can read it: it holds Secrets.
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw .unusable("store \(path): cannot open the file: \(String(cString: strerror(errno)))")
        }
        Glibc.close(descriptor)
        do {
            connection = try SQLiteConnection(path: path, vfs: vfs)
            try connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            let application = try connection.integer("PRAGMA application_id") ?? 0
            let format = try connection.integer("PRAGMA user_version") ?? 0
            let tables = try connection.integer("SELECT count(*) FROM sqlite_schema") ?? 0
            if tables > 0 || application != 0 {
                guard application == Self.applicationID else {
                    throw StoreError.unusable("store \(path): the file is another program's SQLite database")
                }
                guard format <= Self.formatVersion else {
                    throw StoreError.unusable(
                        "store \(path): written in format \(format) by a newer version; this one reads format "
                            + "\(Self.formatVersion)")
                }
            }
            guard try connection.text("PRAGMA journal_mode = WAL") == "wal" else {
                throw StoreError.unusable("store \(path): the file system does not allow a write-ahead log")
            }
            try connection.execute("PRAGMA synchronous = FULL; PRAGMA cache_size = -1024; PRAGMA temp_store = MEMORY")
            try connection.execute("PRAGMA journal_size_limit = 33554432; PRAGMA wal_autocheckpoint = 0")
            try connection.execute(
                """
                BEGIN EXCLUSIVE;
                CREATE TABLE IF NOT EXISTS writes (
                    revision INTEGER PRIMARY KEY, key TEXT NOT NULL, created INTEGER NOT NULL,
                    version INTEGER NOT NULL, value BLOB, checksum INTEGER NOT NULL) STRICT;
                CREATE TABLE IF NOT EXISTS compaction (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL)
                    STRICT;
                INSERT OR IGNORE INTO compaction VALUES (1, 0);
                PRAGMA application_id = \(Self.applicationID);
                PRAGMA user_version = \(Self.formatVersion);
                COMMIT
                """)
            // Setting wal_autocheckpoint replaced the hook that counts pages.
            connection.countLogPages()
            insert = try connection.prepare("INSERT INTO writes VALUES (?, ?, ?, ?, ?, ?)")
            drop = try connection.prepare("DELETE FROM writes WHERE revision = ?")
            setCompacted = try connection.prepare("UPDATE compaction SET revision = ? WHERE id = 1")
            begin = try connection.prepare("BEGIN IMMEDIATE")
            commit = try connection.prepare("COMMIT")
        } catch let error as StoreError {
            throw error
        } catch let error as SQLiteFailure {
            throw Self.openingError(error, path: path)
        } catch {
            throw .unusable("store \(path): \(error)")
        }
    }

    /// Reads everything back.
    func load() throws(StoreError) -> sending StoreMemory {
        do {
            let compacted = try connection.integer("SELECT revision FROM compaction WHERE id = 1") ?? 0
            var memory = StoreMemory(compacted: Revision(rawValue: compacted))
            let rows = try connection.prepare(
                "SELECT revision, key, created, version, value, checksum FROM writes ORDER BY revision")
            while try rows.step() {
                let change = StoreMemory.Change(
                    key: rows.text(1) ?? "", value: rows.isNull(4) ? nil : rows.bytes(4),
                    created: Revision(rawValue: rows.integer(2)), modified: Revision(rawValue: rows.integer(0)),
                    version: rows.integer(3))
                guard Self.checksum(change) == rows.integer(5) else {
                    throw StoreError.unusable("revision \(change.modified) of key \(change.key) has a wrong checksum")
                }
                try memory.load(change)
            }
            return memory
        } catch StoreError.unusable(let text) {
            throw .unusable("store \(path): the file is damaged: \(text). Restore it from a copy")
        } catch let error as SQLiteFailure {
            throw Self.openingError(error, path: path)
        } catch {
            throw .unusable("store \(path): \(error)")
        }
    }

    /// Makes writes durable, and with them a step of compaction: all or nothing, one sync.
    /// - Throws: `.full` with nothing changed and the log good for another attempt, `.failed` when it is not.
    func append(
        _ changes: [StoreMemory.Change], dropping rows: [Revision], compacted: Revision?
    ) throws(StoreError) {
        do {
            try run(begin)
            for change in changes { try write(change) }
            for row in rows {
                defer { drop.reset() }
                try drop.bind(1, row.rawValue)
                _ = try drop.step()
            }
            if let compacted {
                defer { setCompacted.reset() }
                try setCompacted.bind(1, compacted.rawValue)
                _ = try setCompacted.step()
            }
            try run(commit)
        } catch {
            if !connection.isAutocommit { try? connection.execute("ROLLBACK") }
            throw writingError(error)
        }
    }

    /// Moves the write-ahead log into the file when it has grown long. A full disk only puts that off.
    /// - Throws: `.failed`.
    func checkpointIfDue() throws(StoreError) {
        guard connection.logPages >= Self.checkpointPages else { return }
        do {
            try connection.checkpoint()
        } catch {
            let mapped = writingError(error)
            if case .full = mapped { return }
            throw mapped
        }
    }

    /// Moves the whole log into the file, as far as the disk lets it: the next opening is quicker.
    func checkpoint() { try? connection.checkpoint() }

    private func run(_ statement: SQLiteStatement) throws(SQLiteFailure) {
        defer { statement.reset() }
        _ = try statement.step()
    }

    private func write(_ change: StoreMemory.Change) throws(SQLiteFailure) {
        defer { insert.reset() }
        try insert.bind(1, change.modified.rawValue)
        try insert.bind(3, change.created.rawValue)
        try insert.bind(4, change.version)
        try insert.bind(6, Self.checksum(change))
        var key = change.key
        // Typed throws do not pass through the pointer closures of the standard library; the result carries the error.
        let result: Result<Void, SQLiteFailure> = key.withUTF8 { keyBytes in
            Result { () throws(SQLiteFailure) in
                try insert.bind(text: UnsafeRawBufferPointer(keyBytes), 2)
                guard let value = change.value else {
                    try insert.bindNull(5)
                    _ = try insert.step()
                    return
                }
                let stored: Result<Void, SQLiteFailure> = value.withUnsafeBytes { valueBytes in
                    Result { () throws(SQLiteFailure) in
                        try insert.bind(blob: valueBytes, 5)
                        _ = try insert.step()
                    }
                }
                try stored.get()
            }
        }
        try result.get()
    }

    // MARK: Errors

    private static func openingError(_ failure: SQLiteFailure, path: String) -> StoreError {
        switch failure.primary {
        case SQLITE_BUSY, SQLITE_LOCKED:
            .unusable("store \(path): another process has the file open; stop it, or choose another data directory")
        case SQLITE_NOTADB: .unusable("store \(path): the file is not a store")
        case SQLITE_CORRUPT: .unusable("store \(path): the file is damaged: \(failure). Restore it from a copy")
        case SQLITE_FULL: .unusable("store \(path): the disk is full")
        case SQLITE_READONLY, SQLITE_PERM, SQLITE_CANTOPEN:
            .unusable("store \(path): cannot write the file: \(failure)")
        default: .unusable("store \(path): \(failure)")
        }
    }

    private func writingError(_ failure: SQLiteFailure) -> StoreError {
        // After a failed sync the kernel may have dropped the dirty pages and call the next sync good, so only a fresh
        // look at the file can tell what it holds. A lack of space or memory shows before the sync.
        switch failure.code {
        case SQLITE_FULL: .full("store \(path): the disk is full; nothing was written")
        case SQLITE_NOMEM, Self.ioErrorNoMemory: .full("store \(path): out of memory; nothing was written")
        default: .failed("store \(path): the disk failed: \(failure). Writes are refused until a restart")
        }
    }

    /// `SQLITE_IOERR_NOMEM`, a macro that is not imported.
    private static let ioErrorNoMemory = SQLITE_IOERR | (12 << 8)

    /// Guards a row against bits that turned on the disk: SQLite notices damage to its pages' structure only.
    static func checksum(_ change: StoreMemory.Change) -> Int64 {
        var sum = RowChecksum()
        sum.add(UInt64(bitPattern: change.modified.rawValue))
        sum.add(UInt64(bitPattern: change.created.rawValue))
        sum.add(UInt64(bitPattern: change.version))
        var key = change.key
        key.withUTF8 { sum.add(UnsafeRawBufferPointer($0)) }
        change.value?.withUnsafeBytes { sum.add($0) }
        return sum.value
    }
}

/// A fast 64-bit sum over words, position-dependent; against accidents, not against malice.
struct RowChecksum {
    private var state: UInt64 = 0x9e37_79b9_7f4a_7c15

    var value: Int64 { Int64(bitPattern: state) }

    mutating func add(_ word: UInt64) {
        let (high, low) = (state ^ word).multipliedFullWidth(by: 0xd6e8_feb8_6659_fd93)
        state = (high ^ low) &+ 0x2545_f491_4f6c_dd1d
    }

    mutating func add(_ bytes: UnsafeRawBufferPointer) {
        add(UInt64(bytes.count))
        var offset = 0
        while offset &+ 8 <= bytes.count {
            add(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
            offset &+= 8
        }
        var tail: UInt64 = 0
        while offset < bytes.count {
            tail = tail << 8 | UInt64(bytes[offset])
            offset &+= 1
        }
        add(tail)
    }
}
