import ArgumentParser
import ClusterAPI
import Glibc
import HTTP
import JSON
import Reactor
import Synchronization

struct TapCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tap", abstract: "A workload's requests, live: latency, status, and who the other end is.",
        usage: "weft tap WORKLOAD [--direction inbound|outbound] [--path /PREFIX] [--status 5xx] [--failed] …",
        discussion: """
            WORKLOAD: [NAMESPACE/][KIND/]NAME; all its pods with a sidecar, those that come later too. A request is told when it has ended. \
            Nothing is slowed down by it: what cannot be told in time is counted as missed. -o json prints an object a line. It goes on \
            until it is interrupted, or as --limit and --for say.
            """)

    @Argument(help: "[NAMESPACE/][KIND/]NAME")
    var workload: String

    @Option(help: "inbound or outbound. Default: both.")
    var direction: String?

    @Option(help: "Only this method.")
    var method: String?

    @Option(help: "Only paths that begin so.")
    var path: String?

    @Option(help: "Only hosts that have this text.")
    var host: String?

    @Option(help: "Only this status: 503, or 5xx.")
    var status: String?

    @Option(help: "Only those that took so many milliseconds or more.")
    var minMs: Double?

    @Option(help: "Only peers whose identity has this text.")
    var peer: String?

    @Flag(help: "Only what did not go well.")
    var failed = false

    @Option(help: "End after so many requests.")
    var limit: Int?

    @Option(name: .customLong("for"), help: "End after so many seconds.")
    var seconds: Double?

    @OptionGroup var options: AnswerOptions

    func validate() throws {
        guard limit.map({ $0 > 0 }) ?? true, seconds.map({ $0 > 0 }) ?? true else {
            throw ValidationError("--limit and --for are above 0")
        }
    }

    var target: String {
        var parameters: [(String, String)] = []
        func add(_ name: String, _ value: String?) { if let value { parameters.append((name, value)) } }
        add("direction", direction)
        add("method", method?.uppercased())
        add("path", path)
        add("host", host)
        add("status", status)
        add("min_ms", minMs.map { "\($0)" })
        add("peer", peer)
        if failed { parameters.append(("failed", "true")) }
        guard !parameters.isEmpty else { return "/tap" }
        return "/tap?" + parameters.map { "\($0.0)=\(PercentEncoding.encode($0.1))" }.joined(separator: "&")
    }

    func run() throws {
        try options.answering {
            let printer = TapPrinter(output: options.output, limit: limit)
            let (workload, target, seconds) = (workload, target, seconds)
            try options.asking(patience: nil) { session in
                let pods = try await session.pods(named: workload).filter { $0.isMeshed }
                guard !pods.isEmpty else {
                    throw Refusal("\(workload) has no sidecar to look through", hint: ProxyReport.howToInject)
                }
                printer.begin(pods.map(\.name))
                try await withThrowingTaskGroup(of: Event.self) { group in
                    if let seconds {
                        group.addTask {
                            try await session.loop.sleep(for: .milliseconds(Int64(seconds * 1000)))
                            printer.end()
                            return .over
                        }
                    }
                    var followed: Set<String> = []
                    func follow(_ pods: [KubeObject], areFirst: Bool) {
                        for pod in pods where followed.insert(pod.uid).inserted {
                            group.addTask {
                                let stream: HTTPResponseStream
                                do {
                                    stream = try await ProxyAdmin(pod, session).stream(target)
                                } catch  where !areFirst {
                                    // Its sidecar may not be up yet.
                                    return .ended(pod, "\(error)")
                                }
                                if !areFirst { printer.note("\(pod.name) has come") }
                                // However a pod goes, its stream goes with it.
                                try? await Self.follow(stream, pod.name, printer)
                                return .ended(pod, nil)
                            }
                        }
                    }
                    func look() {
                        group.addTask {
                            try await session.loop.sleep(for: Self.lookingInterval)
                            // A workload without pods for a moment is still the one that was asked for.
                            return .pods((try? await session.pods(named: workload)) ?? [])
                        }
                    }
                    follow(pods, areFirst: true)
                    look()
                    while let event = try await group.next(), !printer.isOver {
                        switch event {
                        case .over: break
                        case .pods(let found):
                            follow(found.filter { $0.isMeshed && $0.isReady }, areFirst: false)
                            look()
                        case .ended(let pod, let trouble):
                            if trouble == nil { printer.note("the sidecar of \(pod.name) has ended") }
                            followed.remove(pod.uid)
                        }
                    }
                    group.cancelAll()
                }
            }
        }
    }

    private enum Event: Sendable {
        case over
        case pods([KubeObject])
        /// With what kept it from being followed.
        case ended(KubeObject, String?)
    }

    /// How often it is asked which pods there are.
    private static let lookingInterval: Duration = .seconds(2)

    private static func follow(_ stream: HTTPResponseStream, _ pod: String, _ printer: TapPrinter) async throws {
        var buffer: [UInt8] = []
        while !printer.isOver, let piece = try await stream.next() {
            buffer += piece
            while let end = buffer.firstIndex(of: UInt8(ascii: "\n")) {
                let line = Array(buffer[..<end])
                buffer.removeSubrange(...end)
                guard let json = try? JSONValue.parse(line) else { continue }
                printer.show(json, of: pod)
                if printer.isOver { return }
            }
        }
    }
}

/// Writes requests as they come; from several streams of one loop.
final class TapPrinter: Sendable {
    private let output: OutputFormat
    private let limit: Int?
    private let descriptor: CInt
    private let state = Mutex((shown: 0, isOver: false, width: 0))

    init(output: OutputFormat, limit: Int?, to descriptor: CInt = STDOUT_FILENO) {
        self.output = output
        self.limit = limit
        self.descriptor = descriptor
    }

    var isOver: Bool { state.withLock { $0.isOver } }

    func begin(_ pods: [String]) {
        state.withLock { $0.width = pods.map(\.count).max() ?? 0 }
        guard output == .text || output == .wide else { return }
        write(Style.quiet("looking on at \(pods.joined(separator: ", "))") + "\n")
    }

    /// What has changed about who is looked at; for people.
    func note(_ text: String) {
        guard output == .text || output == .wide else { return }
        write(Style.quiet(text) + "\n")
    }

    func end() { state.withLock { $0.isOver = true } }

    func show(_ request: JSONValue, of pod: String) {
        let width = state.withLock { state -> Int? in
            guard !state.isOver else { return nil }
            if request["missed"] == nil { state.shown += 1 }
            if let limit, state.shown >= limit { state.isOver = true }
            return state.width
        }
        guard let width else { return }
        switch output {
        case .json, .yaml:
            var request = request
            request["pod"] = .string(pod)
            write(request.encodedString() + "\n")
        case .text, .wide:
            write(Self.line(request, pod, width: width, isWide: output == .wide) + "\n")
        }
    }

    static func line(_ request: JSONValue, _ pod: String, width: Int, isWide: Bool) -> String {
        func padded(_ text: String, _ width: Int) -> String {
            text + String(repeating: " ", count: max(0, width - text.count))
        }
        let name = padded(pod, width)
        if let missed = request["missed"]?.int {
            return Style.doubtful("\(name)  \(missed) requests were not told in time")
        }
        let status = request["status"]?.int ?? 0
        let code = status == 0 ? "---" : "\(status)"
        let colour: Style = status == 0 || status >= 500 ? .bad : status >= 400 ? .doubtful : .good
        let isInbound = request.text("direction") == "inbound"
        let peer = request.text("peer")
        let other =
            !peer.isEmpty
            ? Self.short(peer) : isInbound ? "plain text from \(request.text("client"))" : request.text("upstream")
        let milliseconds = request["durationMs"]?.double ?? 0
        let flags = request.text("flags")
        var line =
            "\(request.text("time").dropFirst(11).prefix(12)) \(name)  \(isInbound ? "<-" : "->") \(colour(code)) "
            + "\(padded("\(milliseconds) ms", 12)) \(request.text("method")) \(request.text("host"))\(request.text("path"))"
            + "  \(other.isEmpty ? "-" : other)\(flags.isEmpty ? "" : "  " + Style.bad(flags))"
        if isWide {
            let attempts = request["attempts"]?.int ?? 0
            line +=
                "  \(request.text("protocol")) \(request.text("cluster")) \(request.text("upstream"))"
                + " \(attempts) attempt\(attempts == 1 ? "" : "s") \(request.text("details")) \(request.text("id"))"
        }
        return line
    }

    /// `shop/web`, of `spiffe://cluster.local/ns/shop/sa/web`.
    static func short(_ principal: String) -> String {
        let parts = principal.split(separator: "/")
        guard parts.count == 6, parts[0] == "spiffe:", parts[2] == "ns", parts[4] == "sa" else { return principal }
        return "\(parts[3])/\(parts[5])"
    }

    /// A reader who has gone (`| head`) is the end.
    private func write(_ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if errno != EINTR {
                return end()
            }
        }
    }
}
