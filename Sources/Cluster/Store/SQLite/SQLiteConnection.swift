import CSQLite

/// What SQLite answered instead of OK.
struct SQLiteFailure: Error, CustomStringConvertible {
    /// The extended result code.
    var code: Int32
    var message: String

    var primary: Int32 { code & 0xff }
    var description: String { "\(message) (SQLite \(code))" }
}

/// One connection, used by one thread at a time.
final class SQLiteConnection {
    private let handle: OpaquePointer
    /// Pages in the write-ahead log after the last commit: what a checkpoint would move.
    private(set) var logPages = 0

    /// Opens or makes the file.
    /// - Parameter vfs: the file system layer to go through; nil for SQLite's own.
    init(path: String, vfs: String? = nil) throws(SQLiteFailure) {
        var opened: OpaquePointer?
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX
        let code = sqlite3_open_v2(path, &opened, flags, vfs)
        guard let opened else { throw SQLiteFailure(code: code, message: "out of memory") }
        guard code == SQLITE_OK else {
            let failure = SQLiteFailure(
                code: sqlite3_extended_errcode(opened), message: String(cString: sqlite3_errmsg(opened)))
            sqlite3_close_v2(opened)
            throw failure
        }
        handle = opened
        sqlite3_extended_result_codes(handle, 1)
    }

    deinit { sqlite3_close_v2(handle) }

    /// Keeps `logPages` up to date from here on.
    func countLogPages() {
        sqlite3_wal_hook(
            handle,
            { context, _, _, pages in
                if let context {
                    Unmanaged<SQLiteConnection>.fromOpaque(context).takeUnretainedValue().logPages = Int(pages)
                }
                return SQLITE_OK
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    /// Whether no transaction is open.
    var isAutocommit: Bool { sqlite3_get_autocommit(handle) != 0 }

    func execute(_ sql: String) throws(SQLiteFailure) {
        try check(sqlite3_exec(handle, sql, nil, nil, nil))
    }

    func prepare(_ sql: String) throws(SQLiteFailure) -> SQLiteStatement {
        var statement: OpaquePointer?
        try check(sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil))
        guard let statement else { throw SQLiteFailure(code: SQLITE_MISUSE, message: "empty statement") }
        return SQLiteStatement(connection: self, handle: statement)
    }

    /// The first column of the first row, as text.
    func text(_ sql: String) throws(SQLiteFailure) -> String? {
        let statement = try prepare(sql)
        return try statement.step() ? statement.text(0) : nil
    }

    /// The first column of the first row, as a number.
    func integer(_ sql: String) throws(SQLiteFailure) -> Int64? {
        let statement = try prepare(sql)
        return try statement.step() ? statement.integer(0) : nil
    }

    /// Moves the write-ahead log into the database file and syncs both.
    func checkpoint() throws(SQLiteFailure) {
        try check(sqlite3_wal_checkpoint_v2(handle, nil, SQLITE_CHECKPOINT_PASSIVE, nil, nil))
        logPages = 0
    }

    fileprivate func check(_ code: Int32) throws(SQLiteFailure) {
        guard code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE else {
            throw SQLiteFailure(code: code, message: String(cString: sqlite3_errmsg(handle)))
        }
    }
}

/// A prepared statement of one connection.
final class SQLiteStatement {
    private let connection: SQLiteConnection
    private let handle: OpaquePointer

    fileprivate init(connection: SQLiteConnection, handle: OpaquePointer) {
        self.connection = connection
        self.handle = handle
    }

    deinit { sqlite3_finalize(handle) }

    func bind(_ position: Int32, _ value: Int64) throws(SQLiteFailure) {
        try connection.check(sqlite3_bind_int64(handle, position, value))
    }

    func bindNull(_ position: Int32) throws(SQLiteFailure) {
        try connection.check(sqlite3_bind_null(handle, position))
    }

    /// - Precondition: the bytes stay where they are until `reset`.
    func bind(text bytes: UnsafeRawBufferPointer, _ position: Int32) throws(SQLiteFailure) {
        try connection.check(
            sqlite3_bind_text(
                handle, position, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(clamping: bytes.count),
                nil))
    }

    /// - Precondition: the bytes stay where they are until `reset`.
    func bind(blob bytes: UnsafeRawBufferPointer, _ position: Int32) throws(SQLiteFailure) {
        if let base = bytes.baseAddress {
            try connection.check(sqlite3_bind_blob(handle, position, base, Int32(clamping: bytes.count), nil))
        } else {
            try connection.check(sqlite3_bind_zeroblob(handle, position, 0))
        }
    }

    /// True when there is a row.
    func step() throws(SQLiteFailure) -> Bool {
        let code = sqlite3_step(handle)
        try connection.check(code)
        return code == SQLITE_ROW
    }

    /// Ready for the next use; forgets what was bound.
    func reset() {
        sqlite3_reset(handle)
        sqlite3_clear_bindings(handle)
    }

    func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }

    func isNull(_ column: Int32) -> Bool { sqlite3_column_type(handle, column) == SQLITE_NULL }

    func text(_ column: Int32) -> String? {
        guard let bytes = sqlite3_column_text(handle, column) else { return nil }
        return String(cString: bytes)
    }

    func bytes(_ column: Int32) -> [UInt8] {
        guard let base = sqlite3_column_blob(handle, column) else { return [] }
        return Array(UnsafeRawBufferPointer(start: base, count: Int(sqlite3_column_bytes(handle, column))))
    }
}
