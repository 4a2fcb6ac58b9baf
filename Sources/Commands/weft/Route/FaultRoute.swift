import ArgumentParser
import ClusterAPI
import JSON

struct FaultRoute: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fault", abstract: "Fail or delay a share of a route's requests on purpose, to see who copes.",
        usage: "weft route fault SERVICE_OR_ROUTE [--abort STATUS=PERCENT%] [--delay TIME=PERCENT%] | --off",
        discussion: """
              weft route fault cart --abort 503=10% --delay 2s=50%
              weft route fault cart --off

            The Gateway API has no field for it, so it is the route's annotation mesh.weft.dev/fault. The proxies of those who call \
            make it; a caller without a sidecar notices nothing.
            """)

    @Argument(help: "[NAMESPACE/]NAME[:PORT] of a Service or HTTPRoute.")
    var target: String

    @Option(help: "503=10%: this share is answered so, without asking the backend.")
    var abort: String?

    @Option(help: "2s=50%, 300ms=5%: this share waits so long first.")
    var delay: String?

    @Flag(help: "No faults any more.")
    var off = false

    @Flag(help: "Only say what would be written.")
    var dryRun = false

    @OptionGroup var options: AnswerOptions

    func validate() throws {
        guard (abort == nil && delay == nil) == off else { throw ValidationError("--abort, --delay or both; or --off") }
    }

    func run() throws {
        try options.answering {
            let (target, dryRun) = (target, dryRun)
            let fault = off ? nil : try FaultRule(abort: abort, delay: delay)
            let (chosen, result) = try options.asking { session in
                let chosen = try await ChosenRoute.find(try RouteTarget(target, namespace: session.namespace), session)
                guard !(chosen.isNew && fault == nil) else {
                    throw Refusal("Service \(target) has no HTTPRoute", hint: "so there are no faults")
                }
                let all = "/metadata/annotations"
                let path = "\(all)/\(FaultRule.annotation.replacing("/", with: "~1"))"
                var changes: [(path: String, value: JSONValue?)] = []
                if let fault {
                    if chosen.object.annotations.isEmpty { changes.append((all, [:])) }
                    changes.append((path, .string(fault.text)))
                } else if chosen.object.annotations[FaultRule.annotation] != nil {
                    changes.append((path, nil))
                }
                return (chosen, try await chosen.apply(changes, session, dryRun: dryRun))
            }
            try options.show(result.json) { RouteChange.lines(chosen, result, dryRun: dryRun) }
        }
    }
}

/// The value of the annotation: `abort=503:10%,delay=2s:50%`.
struct FaultRule: Hashable, Sendable {
    static let annotation = "mesh.weft.dev/fault"
    private(set) var text: String

    init(abort: String?, delay: String?) throws {
        var parts: [String] = []
        if let abort {
            let (status, share) = try Self.halves(abort)
            guard let code = Int(status), (200...599).contains(code) else {
                throw Refusal("\"\(status)\" is no status that could be answered", hint: "--abort 503=10%")
            }
            parts.append("abort=\(code):\(share)%")
        }
        if let delay {
            let (time, share) = try Self.halves(delay)
            guard let length = GatewayDuration(time), length.milliseconds > 0 else {
                throw Refusal("\"\(time)\" is no time", hint: "--delay 2s=50%, 300ms=5%")
            }
            parts.append("delay=\(time):\(share)%")
        }
        text = parts.joined(separator: ",")
    }

    private static func halves(_ text: String) throws -> (String, Int) {
        let parts = text.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
        let share = parts.count == 1 ? "100%" : parts[1]
        guard parts.count < 3, share.hasSuffix("%"), let percent = Int(share.dropLast()), (1...100).contains(percent)
        else { throw Refusal("\"\(text)\" is no share", hint: "503=10%, 2s=50%") }
        return (parts[0], percent)
    }
}
