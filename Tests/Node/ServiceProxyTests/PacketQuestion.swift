import Bytes
import Foundation
import JSON

@testable import ServiceProxy

/// What becomes of new connections to one target from one place, asked until all expected endpoints have answered.
struct PacketQuestion: Sendable, Hashable, CustomStringConvertible {
    var place: PacketLab.Place
    var transport: Transport
    var destination: IPAddress
    var port: Bytes.Port
    /// What is expected: who answers, whom it sees, and how.
    var expected: Set<Answer>

    /// `podA as client`, `podA as node`, `refused`, or `silence`.
    struct Answer: Sendable, Hashable, Comparable, CustomStringConvertible {
        var description: String
        static func < (a: Self, b: Self) -> Bool { a.description < b.description }

        static let refused = Answer(description: "refused")
        static let silence = Answer(description: "silence")

        static func endpoint(_ place: PacketLab.Place, masqueraded: Bool) -> Answer {
            Answer(description: "\(place) as \(masqueraded ? "node" : "client")")
        }

        /// A name of a place, or what it is instead.
        fileprivate var first: String { String(description.prefix { $0 != " " }) }
    }

    var description: String { "\(place) to \(transport) \(IPEndpoint(destination, port))" }

    fileprivate var json: JSONValue {
        let names = Set(expected.subtracting([.silence]).map(\.first)).sorted()
        return [
            "tcp": .bool(transport == .tcp), "host": .string("\(destination)"), "port": .int(Int64(port.rawValue)),
            "want": .array(names.map { .string($0) }),
        ]
    }

    /// Asks all at once: those that should be met by silence first, so that they had as long as all others took.
    ///
    /// Each new socket is a new flow. A question is asked again while somebody expected has not answered, up to a bound that
    /// chance reaches once in 2^60 tries.
    fileprivate static let program = """
        import errno, json, resource, selectors, socket, sys, time
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        questions = [json.loads(line) for line in sys.stdin]
        answers = [set() for _ in questions]
        tries = [0] * len(questions)
        selector = selectors.DefaultSelector()
        deadline = time.monotonic() + 60

        def start(n):
            q = questions[n]
            tries[n] += 1
            v6 = ":" in q["host"]
            s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET,
                              socket.SOCK_STREAM if q["tcp"] else socket.SOCK_DGRAM)
            s.setblocking(False)
            # TCP over IPv6 takes a refusal for passing trouble unless it is asked to tell.
            if v6 and q["tcp"]: s.setsockopt(socket.IPPROTO_IPV6, 25, 1)
            s.connect_ex((q["host"], q["port"]))
            selector.register(s, selectors.EVENT_READ, (n, time.monotonic()))
            # A packet that is dropped on its way out is told by EPERM; one that is refused, too, and then by the refusal.
            try:
                if not q["tcp"]: s.send(b"x")
            except ConnectionRefusedError: refused.append(s)
            except PermissionError: pass

        def finish(s, answer=None):
            n, _ = selector.get_key(s).data
            selector.unregister(s)
            try: answer = answer or s.recv(200).decode() or "empty"
            except ConnectionRefusedError: answer = "refused"
            except BlockingIOError:
                # The error is a soft one, for TCP to get over, and waits in the error queue.
                soft = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                answer = "refused" if soft == errno.ECONNREFUSED else "error " + str(soft)
            except OSError as e: answer = "error " + str(e)
            answers[n].add(answer)
            s.close()
            want, got = set(questions[n]["want"]), {a.split(" ")[0] for a in answers[n]}
            return n if want and got < want and tries[n] < 64 else None

        # Sockets that were refused while they sent.
        refused = []
        waiting = [n for n, q in enumerate(questions) if q["want"]][::-1]
        for n, q in enumerate(questions):
            if not q["want"]: start(n)
        open = 0
        while (waiting or open) and time.monotonic() < deadline:
            while waiting and open < 48:
                start(waiting.pop()); open += 1
            ready = [(s, "refused") for s in refused] or [(key.fileobj, None) for key, _ in selector.select(0.5)]
            refused.clear()
            for s, answer in ready:
                wanted = bool(questions[selector.get_key(s).data[0]]["want"])
                again = finish(s, answer)
                if wanted: open -= 1
                if again is not None: waiting.append(again)
            # A datagram can be lost where many come at once.
            for key in list(selector.get_map().values()):
                n, since = key.data
                if questions[n]["want"] and not questions[n]["tcp"] and time.monotonic() - since > 2:
                    selector.unregister(key.fileobj); key.fileobj.close(); open -= 1; waiting.append(n)
        for s in refused: finish(s, "refused")
        for key, _ in selector.select(0.3): finish(key.fileobj)
        for n, _ in enumerate(questions):
            print(json.dumps(sorted(answers[n]) + ([] if answers[n] else ["silence"])))
        """
}

extension PacketLab {
    /// The answers to each question, in their order; all places ask at the same time, on threads of their own.
    func ask(_ questions: [PacketQuestion]) async throws -> [Set<PacketQuestion.Answer>] {
        let byPlace = Dictionary(grouping: questions.indices) { questions[$0].place }
        return try await withThrowingTaskGroup(of: [(Int, Set<PacketQuestion.Answer>)].self) { group in
            for (place, indices) in byPlace {
                let lines = indices.map { questions[$0].json.encodedString() }
                group.addTask {
                    let output = try await offPool { try self.run(PacketQuestion.program, in: place, lines) }
                    return zip(indices, output).map { ($0, Self.answers($1, from: place)) }
                }
            }
            var all = [Set<PacketQuestion.Answer>](repeating: [], count: questions.count)
            for try await answers in group { for (index, answer) in answers { all[index] = answer } }
            return all
        }
    }

    private static func answers(_ line: String, from place: Place) -> Set<PacketQuestion.Answer> {
        let texts = (try? JSONValue.parse(line))?.array?.compactMap(\.string) ?? ["no answer: \(line)"]
        return Set(
            texts.map { text in
                let words = text.split(separator: " ").map(String.init)
                guard words.count == 2, let seen = IPAddress(words[1]) else { return .init(description: text) }
                if nodeAddresses.contains(seen) { return .init(description: "\(words[0]) as node") }
                let isClient = address(of: place, seen.family) == seen
                return .init(description: "\(words[0]) as \(isClient ? "client" : "\(seen)")")
            })
    }
}

/// Runs what blocks on a thread of its own: more of it at the same time than `OwnThreads` has threads.
private func offPool<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Result(catching: body)) }
    }
}
