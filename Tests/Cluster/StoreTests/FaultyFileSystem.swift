import CSQLite
import Glibc
import Synchronization

/// An SQLite file system layer over the real one in which a chosen call fails, once or for good, and in which power can go:
/// then what was written and not synced is undone.
final class FaultyFileSystem: Sendable {
    enum Fault: Sendable, CaseIterable {
        /// No space left; space is there again at the next call.
        case full
        /// A write is refused by the device.
        case writeError
        /// A sync fails.
        case syncError
        /// The machine stops: no call succeeds any more, and `restorePower` undoes what was not synced.
        case powerLoss
    }

    struct State {
        var calls = 0
        var fault: (at: Int, kind: Fault)?
        var isDead = false
        var fired = false
        /// Overwritten bytes since each file's last sync, oldest first.
        var unsynced: [String: [(offset: Int64, old: [UInt8], length: Int64)]] = [:]
    }

    let name: String
    let state = Mutex(State())
    private static let serial = Atomic(0)
    // A registered layer stays registered: SQLite keeps the pointer. Tests make few of them.
    private nonisolated(unsafe) let vfs = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)

    init() {
        name = "faulty-\(Self.serial.add(1, ordering: .relaxed).newValue)"
        let real = sqlite3_vfs_find(nil)!
        vfs.initialize(to: real.pointee)
        vfs.pointee.zName = UnsafePointer(strdup(name))
        vfs.pointee.pNext = nil
        vfs.pointee.szOsFile = Int32(MemoryLayout<FaultyFile>.size) + real.pointee.szOsFile
        vfs.pointee.pAppData = Unmanaged.passRetained(self).toOpaque()
        vfs.pointee.xOpen = { vfs, name, file, flags, outFlags in
            let system = Unmanaged<FaultyFileSystem>.fromOpaque(vfs!.pointee.pAppData).takeUnretainedValue()
            let real = sqlite3_vfs_find(nil)!
            let ours = UnsafeMutableRawPointer(file!).assumingMemoryBound(to: FaultyFile.self)
            ours.pointee.base.pMethods = nil
            if system.state.withLock({ $0.isDead }) { return SQLITE_CANTOPEN }
            let code = real.pointee.xOpen(real, name, realFile(file!), flags, outFlags)
            if code == SQLITE_OK {
                let path = name.map { String(cString: $0) } ?? ""
                ours.pointee.link = Unmanaged.passRetained(FileLink(system: system, path: path)).toOpaque()
                ours.pointee.base.pMethods = UnsafePointer(methods)
            }
            return code
        }
        vfs.pointee.xDelete = { _, name, sync in
            let real = sqlite3_vfs_find(nil)!
            return real.pointee.xDelete(real, name, sync)
        }
        sqlite3_vfs_register(vfs, 0)
    }

    /// The `at`-th write, sync or truncation from here on fails.
    func fail(at call: Int, _ kind: Fault) {
        state.withLock {
            $0.calls = 0
            $0.fired = false
            $0.fault = (call, kind)
        }
    }

    /// Undoes, newest first, what was not synced, as a machine does that lost power.
    func restorePower() throws {
        let lost = state.withLock { state in
            defer { state.unsynced = [:] }
            state.isDead = false
            state.fault = nil
            return state.unsynced
        }
        for (path, writes) in lost where access(path, F_OK) == 0 {
            var bytes = try read(path)
            for write in writes.reversed() {
                let end = Int(write.offset) + write.old.count
                if bytes.count < end { bytes += Array(repeating: 0, count: end - bytes.count) }
                bytes.replaceSubrange(Int(write.offset)..<end, with: write.old)
                bytes.removeSubrange(min(bytes.count, Int(write.length))...)
            }
            try overwrite(path, bytes)
        }
    }

    /// What the call that happens now should answer; nil lets it through.
    fileprivate func answer(isSync: Bool) -> Int32? {
        state.withLock { state in
            if state.isDead { return isSync ? ioErrorSync : ioErrorWrite }
            state.calls += 1
            guard let fault = state.fault, state.calls >= fault.at else { return nil }
            switch fault.kind {
            case .full where !isSync:
                state.fault = nil
                state.fired = true
                return SQLITE_FULL
            case .writeError where !isSync:
                state.fault = nil
                state.fired = true
                return ioErrorWrite
            case .syncError where isSync:
                state.fault = nil
                state.fired = true
                return ioErrorSync
            case .powerLoss:
                state.isDead = true
                state.fired = true
                return isSync ? ioErrorSync : ioErrorWrite
            default: return nil
            }
        }
    }
}

private let ioErrorWrite = SQLITE_IOERR | (3 << 8)
private let ioErrorSync = SQLITE_IOERR | (4 << 8)

private func overwrite(_ path: String, _ bytes: [UInt8]) throws { try write(bytes, to: path) }

private struct FaultyFile {
    var base: sqlite3_file
    var link: UnsafeMutableRawPointer?
}

private final class FileLink: Sendable {
    let system: FaultyFileSystem
    let path: String
    init(system: FaultyFileSystem, path: String) {
        self.system = system
        self.path = path
    }
}

private func realFile(_ file: UnsafeMutablePointer<sqlite3_file>) -> UnsafeMutablePointer<sqlite3_file> {
    (UnsafeMutableRawPointer(file) + MemoryLayout<FaultyFile>.size).assumingMemoryBound(to: sqlite3_file.self)
}

private func link(_ file: UnsafeMutablePointer<sqlite3_file>) -> FileLink {
    let ours = UnsafeMutableRawPointer(file).assumingMemoryBound(to: FaultyFile.self)
    return Unmanaged<FileLink>.fromOpaque(ours.pointee.link!).takeUnretainedValue()
}

/// Notes what a change at `offset` is about to overwrite.
private func note(_ file: UnsafeMutablePointer<sqlite3_file>, offset: Int64, count: Int) {
    let real = realFile(file)
    var length: Int64 = 0
    _ = real.pointee.pMethods.pointee.xFileSize(real, &length)
    let known = Int(max(0, min(Int64(count), length - offset)))
    var old = [UInt8](repeating: 0, count: known)
    if known > 0 { _ = real.pointee.pMethods.pointee.xRead(real, &old, Int32(known), offset) }
    let link = link(file)
    link.system.state.withLock { $0.unsynced[link.path, default: []].append((offset, old, length)) }
}

/// Version 1 has neither shared memory nor mapping; a log under an exclusive lock needs neither.
private nonisolated(unsafe) let methods: UnsafeMutablePointer<sqlite3_io_methods> = {
    let table = UnsafeMutablePointer<sqlite3_io_methods>.allocate(capacity: 1)
    table.initialize(to: sqlite3_io_methods())
    table.pointee.iVersion = 1
    table.pointee.xClose = { file in
        let ours = UnsafeMutableRawPointer(file!).assumingMemoryBound(to: FaultyFile.self)
        Unmanaged<FileLink>.fromOpaque(ours.pointee.link!).release()
        let real = realFile(file!)
        return real.pointee.pMethods.pointee.xClose(real)
    }
    table.pointee.xRead = { file, buffer, count, offset in
        let real = realFile(file!)
        return real.pointee.pMethods.pointee.xRead(real, buffer, count, offset)
    }
    table.pointee.xWrite = { file, buffer, count, offset in
        if let code = link(file!).system.answer(isSync: false) { return code }
        note(file!, offset: offset, count: Int(count))
        let real = realFile(file!)
        return real.pointee.pMethods.pointee.xWrite(real, buffer, count, offset)
    }
    table.pointee.xTruncate = { file, size in
        if let code = link(file!).system.answer(isSync: false) { return code }
        note(file!, offset: size, count: .max)
        let real = realFile(file!)
        return real.pointee.pMethods.pointee.xTruncate(real, size)
    }
    table.pointee.xSync = { file, flags in
        let link = link(file!)
        if let code = link.system.answer(isSync: true) { return code }
        link.system.state.withLock { $0.unsynced[link.path] = nil }
        return SQLITE_OK
    }
    table.pointee.xFileSize = { file, size in
        let real = realFile(file!)
        return real.pointee.pMethods.pointee.xFileSize(real, size)
    }
    table.pointee.xLock = { file, level in
        let real = realFile(file!)
        return real.pointee.pMethods.pointee.xLock(real, level)
    }
    table.pointee.xUnlock = { file, level in
        let real = realFile(file!)
        return real.pointee.pMethods.pointee.xUnlock(real, level)
    }
    table.pointee.xCheckReservedLock = { file, out in
        let real = realFile(file!)
        return real.pointee.pMethods.pointee.xCheckReservedLock(real, out)
    }
    table.pointee.xFileControl = { file, operation, argument in
        let real = realFile(file!)
        return real.pointee.pMethods.pointee.xFileControl(real, operation, argument)
    }
    table.pointee.xSectorSize = { file in
        let real = realFile(file!)
        return real.pointee.pMethods.pointee.xSectorSize(real)
    }
    // No promise about what a crash leaves of a write.
    table.pointee.xDeviceCharacteristics = { _ in 0 }
    return table
}()
