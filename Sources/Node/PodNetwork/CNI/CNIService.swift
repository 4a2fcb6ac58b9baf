import Bytes
import Glibc
import Reactor

/// The daemon's end of the CNI socket. Everything happens on the loop that it was made on.
final class CNIService {
    private let listener: Listener
    private let path: String

    /// Listens at `path`, in place of what a dead predecessor left there. The state directory's lock has made sure that there is
    /// no living one.
    init(path: String, on loop: EventLoop, answer: @escaping (CNICall) -> CNIReply) throws {
        let folder = path.split(separator: "/").dropLast().map { "/" + $0 }.joined()
        if !folder.isEmpty { try Files.makeDirectories(folder) }
        unlink(path)
        self.path = path
        var options = ListenerOptions()
        options.unixMode = 0o600
        options.stream.inputLimit = CNIFrame.maximumLength + CNIFrame.headerSize
        listener = try Listener(.unix(path: path), on: loop, options: options) { stream in
            stream.handler = CNIConversation(answer)
        }
    }

    func close() {
        listener.close()
        unlink(path)
    }
}

/// One connection: a call in, a reply out.
private final class CNIConversation: StreamHandler, @unchecked Sendable {
    // A handler is called on its stream's loop only, where it was made.
    private let answer: (CNICall) -> CNIReply
    private var answered = false

    init(_ answer: @escaping (CNICall) -> CNIReply) { self.answer = answer }

    override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
        guard !answered else { return bytes.count }
        switch CNIFrame.read(bytes) {
        case .incomplete: return 0
        case .malformed: reply(stream, CNIReply(CNIError(.decoding, "the call cannot be read", details: "CNI socket")))
        case .complete(let json):
            let call = CNICall(json: json)
            reply(
                stream,
                call.map(answer) ?? CNIReply(CNIError(.decoding, "the call lacks a field", details: "CNI socket")))
        }
        return bytes.count
    }

    private func reply(_ stream: StreamSocket, _ reply: CNIReply) {
        answered = true
        stream.write(CNIFrame.write(reply.json))
        stream.closeAfterWrite()
    }
}
