import Glibc

/// Tells when a name in a directory comes to stand for another file: how configuration is replaced whole, by renaming a file
/// or, as Kubernetes does it, a symbolic link. A file that is written in place is not told of: half of it could be read.
///
/// `@unchecked Sendable`: every method is called on `loop`'s thread.
public final class DirectoryWatch: PollHandler, @unchecked Sendable {
    private let loop: EventLoop
    private var fd: CInt
    private var registration: Registration?
    private let moved: (String) -> Void

    /// On the loop. `moved` is called there with the name in the directory.
    public init(_ directory: String, on loop: EventLoop, _ moved: @escaping (String) -> Void) throws(SystemError) {
        self.loop = loop
        self.moved = moved
        fd = inotify_init1(CInt(IN_NONBLOCK_) | CInt(IN_CLOEXEC_))
        guard fd >= 0 else { throw SystemError.last("inotify_init1", directory) }
        super.init()
        guard inotify_add_watch(fd, directory, UInt32(IN_MOVED_TO_) | UInt32(IN_ONLYDIR_)) >= 0 else {
            let error = SystemError.last("inotify_add_watch", directory)
            Glibc.close(fd)
            fd = -1
            throw error
        }
        registration = try loop.register(fd: fd, handler: self, interest: [.readable])
    }

    deinit { if fd >= 0 { Glibc.close(fd) } }

    public override func ready(_ events: PollEvents) {
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { buffer in
            while fd >= 0 {
                let count = read(fd, buffer.baseAddress, buffer.count)
                guard count > 0 else { return }
                var at = 0
                while at + 16 <= count, fd >= 0 {
                    let length = Int(buffer.loadUnaligned(fromByteOffset: at + 12, as: UInt32.self))
                    let name = buffer[(at + 16)..<min(at + 16 + length, count)].prefix { $0 != 0 }
                    at += 16 + length
                    moved(String(decoding: name, as: UTF8.self))
                }
            }
        }
    }

    /// Tells of nothing more. On the loop.
    public func close() {
        if let registration { loop.deregister(registration) }
        registration = nil
        if fd >= 0 { Glibc.close(fd) }
        fd = -1
    }

    public override func loopDidStop() { close() }
}

// Of sys/inotify.h, which has them as enumerators that do not come over.
private let IN_NONBLOCK_ = 0o4000
private let IN_CLOEXEC_ = 0o2000000
private let IN_MOVED_TO_ = 0x80
private let IN_ONLYDIR_ = 0x0100_0000
