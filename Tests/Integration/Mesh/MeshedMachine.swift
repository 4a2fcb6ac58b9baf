import Glibc
import JSON
import Reactor
import TestSupport
import Testing

extension OtherMachine {
    static var hasMesh: Bool {
        isAvailable && BuiltPrograms.path("weft-proxy") != nil && access("/usr/bin/kubectl", X_OK) == 0
    }
}

/// A cluster of one node that `weft up` made on a machine of the test's own, and what a person does there with kubectl. Pods are of the
/// namespace `shop`, which is in the mesh.
final class MeshedMachine {
    let machine: OtherMachine

    init() throws {
        machine = try OtherMachine()
        let up = try machine.weft("up", "--nodes", "1", "--dir", machine.cluster, "--without-dns")
        try #require(up.succeeded, "\(up.text)")
    }

    // MARK: Commands

    func weft(_ arguments: String...) throws -> OtherMachine.Output {
        try machine.weft(arguments + ["--dir", machine.cluster])
    }

    func run(_ arguments: [String]) throws -> OtherMachine.Output {
        try machine.run(
            ["kubectl", "--kubeconfig", machine.cluster + "/kubeconfig", "--cache-dir", machine.directory + "/kube"]
                + arguments)
    }

    /// What kubectl says where it must go well.
    @discardableResult
    func kubectl(_ arguments: String...) throws -> String {
        let output = try run(arguments)
        try #require(output.succeeded, "\(arguments): \(output.text)")
        return output.text
    }

    func apply(_ text: String) throws {
        let file = machine.directory + "/manifest.yaml"
        try Files.writeAtomically(file, text)
        try kubectl("apply", "-f", file)
    }

    /// Runs a script on the node.
    func onNode(_ script: String) throws {
        let output = try machine.run("sh", "-c", script)
        try #require(output.succeeded, "\(output.text)")
    }

    // MARK: What is seen

    func describe(_ pod: String) throws -> String { try kubectl("describe", "pod", "-n", "shop", pod) }

    /// A field of a pod, as a JSON path.
    func field(_ path: String, of pod: String) throws -> String {
        try kubectl("get", "pod", "-n", "shop", pod, "-o", "jsonpath={\(path)}")
    }

    func waitReady(_ pods: String...) throws {
        let names = pods.map { "pod/\($0)" }
        let ready = try run(["wait", "-n", "shop", "--for=condition=Ready", "--timeout=120s"] + names)
        let why = try ready.succeeded ? "" : pods.map(describe).joined()
        try #require(ready.succeeded, "\(ready.text)\n\(why)")
    }

    /// The lines of a pod's application; none while the node, which has them, does not answer.
    func lines(of pod: String) throws -> [Substring] {
        let output = try run(["logs", "-n", "shop", pod, "-c", "app"])
        return output.succeeded ? output.text.split(separator: "\n") : []
    }

    func lastLine(of pod: String) throws -> String { try lines(of: pod).last.map(String.init) ?? "" }

    /// The sidecar of a pod, as the kernel knows it.
    func sidecar(of pod: String) throws -> pid_t {
        let id = try #require(JSONValue.parse(Files.read(machine.cluster + "/cluster.json"))["id"]?.string)
        for name in try Files.list("/proc") {
            // Other tests have clusters beside this one, whose pods have the same names.
            guard let process = pid_t(name),
                let words = try? Files.read("/proc/\(process)/cmdline", limit: 1 << 20),
                String(decoding: words, as: UTF8.self).contains("sidecar~\(pod).shop\0"),
                let groups = try? Files.readText("/proc/\(process)/cgroup"), groups.contains("weft/\(id)")
            else { continue }
            return process
        }
        throw NeverSo(what: "\(pod) has a sidecar that runs")
    }

    /// Asks until the answer fits, a minute at most.
    @discardableResult
    func eventually<Answer>(
        _ what: String, at place: SourceLocation = #_sourceLocation, _ ask: () throws -> Answer,
        _ fits: (Answer) -> Bool
    ) throws -> Answer {
        let deadline = ContinuousClock.now + .seconds(60)
        while true {
            let answer = try ask()
            if fits(answer) { return answer }
            guard ContinuousClock.now < deadline else {
                Issue.record("not within a minute: \(what): \("\(answer)".suffix(3000))", sourceLocation: place)
                throw NeverSo(what: what)
            }
            usleep(100_000)
        }
    }
}

/// Manifests of pods and Services in `shop`.
enum Shop {
    static let namespace = """
        apiVersion: v1
        kind: Namespace
        metadata: {name: shop, labels: {mesh.weft.dev/inject: enabled}}
        ---

        """

    static let strict = """
        apiVersion: security.istio.io/v1
        kind: PeerAuthentication
        metadata: {name: default, namespace: shop}
        spec: {mtls: {mode: STRICT}}
        ---

        """

    static func service(_ name: String) -> String {
        """
        apiVersion: v1
        kind: Service
        metadata: {name: \(name), namespace: shop}
        spec: {selector: {app: \(name)}, ports: [{name: http, port: 80, targetPort: 8080}]}
        ---

        """
    }

    /// A pod of one container.
    ///
    /// - Parameters:
    ///   - command: A script of one line.
    ///   - pod: More fields of the pod's specification, a line each.
    ///   - container: More fields of its container, a line each.
    static func pod(
        _ name: String, _ command: String, annotations: String = "", labels: String = "", pod: [String] = [],
        container: [String] = []
    ) -> String {
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: \(name), namespace: shop, labels: {app: \(name), \(labels)}, annotations: {\(annotations)}}
        spec:
          terminationGracePeriodSeconds: 1
        \(pod.map { "  \($0)\n" }.joined())  containers:
          - name: app
            image: weft.local/host
        \(container.map { "    \($0)\n" }.joined())    command: [sh, -c, '\(command)']
        ---

        """
    }

    /// A pod that answers HTTP, for the Service of its name.
    static func backend(_ name: String, annotations: String = "", container: [String] = []) -> String {
        pod(
            name, "mkdir -p /tmp/\(name) && cd /tmp/\(name) && exec python3 -m http.server 8080",
            annotations: annotations,
            container: ["readinessProbe: {httpGet: {port: 8080, path: /}, periodSeconds: 1}"] + container)
    }

    /// A Service and a pod behind it that answers HTTP.
    static func server(_ name: String, container: [String] = []) -> String {
        service(name) + backend(name, container: container)
    }

    /// A pod that asks a Service ten times a second, which was there before it, and writes down what it was answered.
    static func client(_ name: String, of service: String = "cart") -> String {
        let host = "\(service.uppercased().replacing("-", with: "_"))_SERVICE_HOST"
        return pod(
            name,
            #"while true; do curl -s -m 5 -o /dev/null -w "%{http_code}\n" http://$\#(host)/; sleep 0.1; done"#)
    }
}
