import Bytes
import Glibc
import Reactor

/// The daemon's end of the CNI socket. Everything happens on the loop that it was made on.
final class CNIService {
    /// What becomes of a call: the reply is given on the loop, now or later.
    typealias Answer = (CNICall, _ reply: @escaping @Sendable (CNIReply) -> Void) -> Void

    private let listener: Listener
    private let path: String

    /// Listens at `path`, in place of what a dead predecessor left there. The state directory's lock has made sure that there is
    /// no living one.
    init(path: String, on loop: EventLoop, answer: @escaping Answer) throws {
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
    private let answer: CNIService.Answer
    private var isAsked = false

    init(_ answer: @escaping CNIService.Answer) { self.answer = answer }

    override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
        guard !isAsked else { return bytes.count }
        switch CNIFrame.read(bytes) {
        case .incomplete: return 0
        case .malformed:
            Self.reply(stream, CNIReply(CNIError(.decoding, "the call cannot be read", details: "CNI socket")))
        case .complete(let json):
            if let call = CNICall(json: json) {
                answer(call) { Self.reply(stream, $0) }
            } else {
                Self.reply(stream, CNIReply(CNIError(.decoding, "the call lacks a field", details: "CNI socket")))
            }
        }
        isAsked = true
        return bytes.count
    }

    /// A caller that has gone meanwhile hears nothing; its runtime calls DEL.
    private static func reply(_ stream: StreamSocket, _ reply: CNIReply) {
        guard !stream.isClosed else { return }
        stream.write(CNIFrame.write(reply.json))
        stream.closeAfterWrite()
    }
}
