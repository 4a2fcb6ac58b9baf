/// Gathers what a handler writes during one call, in one buffer a loop, so that it leaves in one system call and without
/// a queue. At most one stream uses it at a time; a nested one writes directly.
final class Cork {
    private let room: UnsafeMutableRawBufferPointer
    private var used = 0
    private var user: Unmanaged<StreamSocket>?

    init() { room = .allocate(byteCount: BufferPool.largest, alignment: 64) }

    deinit { room.deallocate() }

    /// False when the bytes must go another way; what was gathered before has been sent then.
    @inline(__always)
    func append(_ bytes: UnsafeRawBufferPointer, for stream: StreamSocket) -> Bool {
        guard let free = room(bytes.count, for: stream) else { return false }
        free.copyMemory(from: bytes)
        used &+= bytes.count
        return true
    }

    /// Room for `count` bytes, to be taken by `commit`; nil when they must go another way.
    @inline(__always)
    func room(_ count: Int, for stream: StreamSocket) -> UnsafeMutableRawBufferPointer? {
        let this = Unmanaged.passUnretained(stream)
        if user == nil { user = this } else if user?.toOpaque() != this.toOpaque() { return nil }
        if count > room.count &- used {
            send()
            if count > room.count / 4 || stream.queuedOutput > 0 || stream.isClosed { return nil }
            user = this
        }
        return UnsafeMutableRawBufferPointer(rebasing: room[used..<(used &+ count)])
    }

    @inline(__always)
    func commit(_ count: Int) {
        precondition(count >= 0 && count <= room.count &- used, "more output than the room that was lent")
        used &+= count
    }

    /// The stream's handler has returned: send what it wrote.
    @inline(__always)
    func release(_ stream: StreamSocket) {
        guard let user, user.toOpaque() == Unmanaged.passUnretained(stream).toOpaque() else { return }
        send()
    }

    /// The stream has closed: drop what it wrote.
    func forget(_ stream: StreamSocket) {
        guard let user, user.toOpaque() == Unmanaged.passUnretained(stream).toOpaque() else { return }
        self.user = nil
        used = 0
    }

    private func send() {
        guard let stream = user else { return }
        let count = used
        user = nil
        used = 0
        guard count > 0 else { return }
        stream._withUnsafeGuaranteedRef { $0.sendGathered(UnsafeRawBufferPointer(rebasing: room[..<count])) }
    }
}
