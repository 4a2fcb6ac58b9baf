import ArgumentParser
import ClusterAPI
import JSON

struct ProxyStatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Each proxy: is it connected, and has it taken what it was sent?",
        usage: "weft proxy status [POD]",
        discussion: """
            SYNCED: the proxy has accepted what there is. STALE: something newer is on its way. NOT SENT: it was asked for, and there \
            is none. ERROR: the proxy refused what it was sent last, and goes on with what it had; `weft proxy status POD` says why.

            POD: [NAMESPACE/][KIND/]NAME; of a workload all its pods.

            Exit status: 0 all is well; 1 a proxy refused something, or a pod's sidecar is not connected; 3 it cannot be told.
            """)

    @Argument(help: "One pod's, in detail.")
    var pod: String?

    @Flag(name: [.customShort("A"), .long], help: "Of all namespaces, which is the default without -n.")
    var allNamespaces = false

    @OptionGroup var options: AnswerOptions

    func run() throws {
        try options.answering {
            let (pod, only) = (pod, allNamespaces ? nil : options.namespace)
            let report = try options.asking { session in
                let told = try await session.transport.document("/mesh/proxies")
                let pods = try await session.client.list(.pods, namespace: only).items
                var report = ProxyReport(told.list("proxies"), meshed: pods.filter { $0.isMeshed })
                if let only { report.keep { $0.namespace == only } }
                if let pod {
                    let wanted = Set(try await session.pods(named: pod).map(\.key))
                    report.keep { wanted.contains($0) }
                    guard !report.entries.isEmpty else {
                        throw Refusal("\(pod) has no proxy", hint: ProxyReport.howToInject)
                    }
                }
                return report
            }
            try options.show(report.document) { pod == nil ? report.table(isWide: options.isWide) : report.details }
            if !report.isWell { throw ExitCode(1) }
        }
    }
}

/// What the control plane tells of its proxies beside the pods that should have one: pure.
struct ProxyReport: Sendable {
    static let howToInject = "label its namespace mesh.weft.dev/inject=enabled, then roll the pods out anew"
    static let kinds = ["cds", "lds", "eds", "rds", "sds", "ecds"]

    struct Entry: Sendable {
        var pod: ObjectKey
        /// As the control plane tells it; null for a pod whose sidecar is not connected.
        var told: JSONValue

        var isConnected: Bool { told != .null }
        var refusals: [(kind: String, why: String)] {
            (told["resources"]?.object ?? [:]).compactMap { kind, state in
                state.text("status") == "ERROR" ? (kind, state.text("error")) : nil
            }
        }
        var isWell: Bool { isConnected && refusals.isEmpty }
        var name: String { pod.name.isEmpty ? told.text("id") : "\(pod)" }
    }

    private(set) var entries: [Entry]

    /// - Parameter meshed: the pods that have a sidecar.
    init(_ proxies: [JSONValue], meshed: [KubeObject]) {
        entries = proxies.map { proxy in
            Entry(pod: ObjectKey(namespace: proxy.text("namespace"), name: proxy.text("pod")), told: proxy)
        }
        let connected = Set(entries.map(\.pod))
        entries += meshed.filter { !connected.contains($0.key) && $0.status.text("phase") == "Running" }.map {
            Entry(pod: $0.key, told: .null)
        }
        entries.sort { ($0.pod, $0.told.text("id")) < ($1.pod, $1.told.text("id")) }
    }

    mutating func keep(_ isMeant: (ObjectKey) -> Bool) { entries.removeAll { !isMeant($0.pod) } }

    var isWell: Bool { entries.allSatisfy(\.isWell) }

    var document: JSONValue {
        [
            "proxies": .array(
                entries.map { entry in
                    entry.isConnected
                        ? entry.told
                        : [
                            "namespace": .string(entry.pod.namespace), "pod": .string(entry.pod.name),
                            "connected": false,
                        ]
                })
        ]
    }

    func table(isWide: Bool) -> [String] {
        guard !entries.isEmpty else { return ["no proxy is connected, and no pod has a sidecar: \(Self.howToInject)"] }
        var table =
            isWide
            ? TextTable(
                "NAME", "KIND", "CDS", "LDS", "EDS", "RDS", "SDS", "ECDS", "PROXY", "PROTOCOL", "NODE", "SINCE",
                "ADDRESS")
            : TextTable("NAME", "KIND", "CDS", "LDS", "EDS", "RDS", "PROXY", "SINCE")
        for entry in entries {
            guard entry.isConnected else {
                let gone = Style.bad("NOT CONNECTED")
                if isWide {
                    table.add(entry.name, "sidecar", gone, "", "", "", "", "", "", "", "", "", "")
                } else {
                    table.add(entry.name, "sidecar", gone, "", "", "", "", "")
                }
                continue
            }
            let states = Self.kinds.map { Self.coloured(entry.told.text("resources", $0, "status")) }
            let agent = [entry.told.text("agent"), entry.told.text("version")].filter { !$0.isEmpty }
                .joined(separator: " ")
            let (kind, since) = (entry.told.text("kind"), entry.told.text("connectedSince"))
            if isWide {
                table.add(
                    entry.name, kind, states[0], states[1], states[2], states[3], states[4], states[5], agent,
                    entry.told.text("protocol"), entry.told.text("node"), since, entry.told.text("address"))
            } else {
                table.add(entry.name, kind, states[0], states[1], states[2], states[3], agent, since)
            }
        }
        var lines = table.lines
        for entry in entries {
            for (kind, why) in entry.refusals { lines.append("\(entry.name) refused \(kind): \(why)") }
        }
        return lines
    }

    /// Of each, one thing a line.
    var details: [String] {
        entries.flatMap { entry -> [String] in
            guard entry.isConnected else {
                return [
                    "\(entry.name): \(Style.bad("NOT CONNECTED"))",
                    "  its sidecar has no stream to the control plane; see kubectl logs -c weft-proxy",
                ]
            }
            var lines = [
                "\(entry.name): \(entry.told.text("kind")) \(entry.told.text("agent")) \(entry.told.text("version"))",
                "  connected since \(entry.told.text("connectedSince")) from \(entry.told.text("address")) "
                    + "(\(entry.told.text("protocol")))",
            ]
            for (kind, state) in entry.told["resources"]?.object ?? [:] {
                let version = state.text("version")
                lines.append(
                    "  \(kind): \(Self.coloured(state.text("status")))\(version.isEmpty ? "" : ", version \(version)")")
                if !state.text("error").isEmpty { lines.append("    refused: \(state.text("error"))") }
            }
            return lines
        }
    }

    private static func coloured(_ state: String) -> String {
        switch state {
        case "SYNCED": Style.good(state)
        case "ERROR": Style.bad(state)
        case "STALE": Style.doubtful(state)
        default: state
        }
    }
}
