import Bytes
import Glibc
import Reactor

/// What a reader of a container's log asks for; the meaning of the fields is the API's (`PodLogOptions`).
public struct LogQuery: Sendable, Equatable {
    public var follow = false
    public var previous = false
    public var timestamps = false
    /// nil for all.
    public var tailLines: Int?
    public var since: Timestamp?
    public var limitBytes: Int?
    /// `stdout` or `stderr`; nil for both.
    public var stream: String?

    public init() {}
}

/// Reads one log file in the CRI's format: `TIME stream F|P message`, P for a part of a line that goes on.
///
/// A value that remembers its place, so that following is reading again. Blocking reads of at most `chunk` bytes.
struct ContainerLogReader: ~Copyable {
    private let query: LogQuery
    private let path: String
    private var fd: CInt
    private var inode: ino_t
    private var pending: [UInt8] = []
    private var left: Int
    private var isAtLineStart = true

    static let chunk = 64 << 10
    /// A line without an end that is longer than this is broken up.
    static let lineLimit = 1 << 20

    init(path: String, query: LogQuery) throws {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw SystemError(errno: errno, call: "open", subject: path) }
        var info = stat()
        fstat(file, &info)
        if let lines = query.tailLines {
            lseek(file, Self.tailStart(file, size: Int(info.st_size), lines: lines), SEEK_SET)
        }
        self.path = path
        self.query = query
        left = max(0, query.limitBytes ?? .max)
        fd = file
        inode = info.st_ino
    }

    deinit { close(fd) }

    /// Whether the limit that the query set is reached.
    var isExhausted: Bool { left <= 0 }

    /// The next part of the log as the query wants it; empty when nothing more has been written.
    mutating func read() throws -> [UInt8] {
        var out: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: Self.chunk)
        while out.isEmpty, left > 0 {
            let count = Glibc.read(fd, &buffer, buffer.count)
            if count < 0 { throw SystemError(errno: errno, call: "read", subject: path) }
            if count == 0 {
                if try reopenIfRotated() { continue }
                break
            }
            pending += buffer.prefix(count)
            var start = 0
            while let end = pending[start...].firstIndex(of: UInt8(ascii: "\n")) {
                append(pending[start..<end], to: &out)
                start = end + 1
            }
            pending.removeFirst(start)
            if pending.count > Self.lineLimit { pending.removeAll() }
        }
        if out.count > left { out.removeLast(out.count - left) }
        left -= out.count
        return out
    }

    private func append(_ line: ArraySlice<UInt8>, to out: inout [UInt8]) {
        guard let parsed = CRILogLine(line) else { return }
        if let stream = query.stream, !parsed.stream.elementsEqual(stream.utf8) { return }
        if let since = query.since, let at = Timestamp(rfc3339: String(decoding: parsed.time, as: UTF8.self)),
            at < since
        {
            return
        }
        if query.timestamps {
            out += parsed.time
            out.append(UInt8(ascii: " "))
        }
        out += parsed.message
        if !parsed.isPartial { out.append(UInt8(ascii: "\n")) }
    }

    /// After rotation the name belongs to a new file.
    private mutating func reopenIfRotated() throws -> Bool {
        var info = stat()
        guard stat(path, &info) == 0, info.st_ino != inode else { return false }
        let fresh = open(path, O_RDONLY | O_CLOEXEC)
        guard fresh >= 0 else { return false }
        close(fd)
        fd = fresh
        inode = info.st_ino
        return true
    }

    /// Where the last `lines` lines begin, read from the end.
    private static func tailStart(_ fd: CInt, size: Int, lines: Int) -> Int {
        guard lines > 0 else { return size }
        var (position, found) = (size, 0)
        var buffer = [UInt8](repeating: 0, count: chunk)
        while position > 0 {
            let length = min(chunk, position)
            let count = pread(fd, &buffer, length, position - length)
            guard count == length else { return 0 }
            for i in stride(from: length - 1, through: 0, by: -1) where buffer[i] == UInt8(ascii: "\n") {
                // The end of the last line is not a start.
                if position - length + i == size - 1 { continue }
                found += 1
                if found == lines { return position - length + i + 1 }
            }
            position -= length
        }
        return 0
    }
}

/// One line of a log file, taken apart.
struct CRILogLine {
    var time: ArraySlice<UInt8>
    var stream: ArraySlice<UInt8>
    var isPartial: Bool
    var message: ArraySlice<UInt8>

    /// nil for what is not in the format.
    init?(_ line: ArraySlice<UInt8>) {
        let blank = UInt8(ascii: " ")
        guard let first = line.firstIndex(of: blank), let second = line[(first + 1)...].firstIndex(of: blank) else {
            return nil
        }
        let tag = second + 1
        guard tag < line.endIndex, line[tag] == UInt8(ascii: "F") || line[tag] == UInt8(ascii: "P") else { return nil }
        time = line[..<first]
        stream = line[(first + 1)..<second]
        isPartial = line[tag] == UInt8(ascii: "P")
        message = line[min(tag + 2, line.endIndex)...]
    }
}

/// Keeps log files from filling the disk.
enum LogRotation {
    /// Bytes at which a file is put aside.
    static let sizeLimit = 10 << 20
    /// Files of one container run, the one being written included.
    static let fileLimit = 5

    /// Puts the file aside when it is too long, and removes the oldest; true when the supervisor must open a new one.
    static func rotate(_ path: String, stamp: String, sizeLimit: Int = sizeLimit) throws -> Bool {
        var info = stat()
        guard stat(path, &info) == 0, info.st_size >= sizeLimit else { return false }
        let folder = Directory.parent(of: path)
        let name = String(path.dropFirst(folder.utf8.count + 1))
        guard rename(path, "\(path).\(stamp)") == 0 else {
            throw SystemError(errno: errno, call: "rename", subject: path)
        }
        let old = Directory.names(folder).filter { $0.hasPrefix(name + ".") }
        for name in old.dropLast(max(0, fileLimit - 1)) { unlink("\(folder)/\(name)") }
        return true
    }
}

/// What a container leaves for people to read when it ends.
enum TerminationMessage {
    /// Bytes of the file.
    static let fileLimit = 4096
    /// Of the log, when the container asked for it and failed without a message.
    static let logByteLimit = 2048
    static let logLineLimit = 80

    static func read(file: String, log: String, fallsBackToLog: Bool, code: Int32) -> String {
        var text = (try? head(file)) ?? ""
        if text.isEmpty, fallsBackToLog, code != 0 {
            var query = LogQuery()
            query.tailLines = logLineLimit
            if var reader = try? ContainerLogReader(path: log, query: query) {
                var bytes: [UInt8] = []
                while let part = try? reader.read(), !part.isEmpty { bytes += part }
                text = String(decoding: bytes.suffix(logByteLimit), as: UTF8.self)
            }
        }
        return text
    }

    private static func head(_ path: String) throws -> String {
        // The container wrote this file: it may be a link or a pipe by now, and of any length.
        let fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard fd >= 0 else { throw SystemError(errno: errno, call: "open", subject: path) }
        defer { close(fd) }
        var buffer = [UInt8](repeating: 0, count: fileLimit)
        let count = Glibc.read(fd, &buffer, buffer.count)
        return count > 0 ? String(decoding: buffer.prefix(count), as: UTF8.self) : ""
    }
}
