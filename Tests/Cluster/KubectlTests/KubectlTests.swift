import Reactor
import Testing

/// One call of kubectl and what it must say. `NS` in arguments stands for the namespace of this kubectl.
private struct Step: Sendable {
    var arguments: String
    var input = ""
    /// Every word must be in what it prints.
    var says: [String]
    var fails = false

    init(_ arguments: String, _ input: String = "", says: String...) {
        self.arguments = arguments
        self.input = input
        self.says = says
    }

    static func refused(_ arguments: String, _ input: String = "", says: String...) -> Step {
        var step = Step(arguments, input)
        step.says = says
        step.fails = true
        return step
    }
}

private func deployment(replicas: Int, extra: String = "") -> String {
    """
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web, labels: {app: web}}
    spec:
      replicas: \(replicas)
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec:
          containers:
          - {name: c, image: one, ports: [{containerPort: 80, name: http}], resources: {requests: {cpu: 100m, memory: 1Gi}}}
      \(extra)
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
    ---
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: p}
    spec: {podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}
    """
}

private let steps: [Step] = [
    Step("create namespace NS", says: "created"),
    Step("-n NS apply -f -", deployment(replicas: 2), says: "deployment.apps/web created", "service/web created"),
    Step("-n NS wait --for=condition=Progressing deploy/web --timeout=20s", says: "condition met"),
    Step("-n NS apply -f -", deployment(replicas: 2), says: "deployment.apps/web unchanged"),
    Step("-n NS apply -f -", deployment(replicas: 3), says: "deployment.apps/web configured", "service/web unchanged"),
    .refused("-n NS apply -f -", deployment(replicas: 3, extra: "bogus: 1"), says: "unknown field", "bogus"),
    Step("-n NS get deploy -o wide", says: "web", "/3", "CONTAINERS", "IMAGES", "SELECTOR", "app=web"),
    Step("-n NS get pods -o wide", says: "web-", "RESTARTS", "NOMINATED NODE", "READINESS GATES", "Pending"),
    Step("-n NS get pods --field-selector status.phase=Pending -l app=web", says: "web-"),
    Step("-n NS describe deploy web", says: "RollingUpdate", "NewReplicaSet", "ScalingReplicaSet"),
    Step("-n NS get endpointslices -l kubernetes.io/service-name=web", says: "web-", "IPv4"),
    Step("-n NS scale deploy web --replicas=1", says: "scaled"),
    Step("-n NS set image deploy/web c=two", says: "image updated"),
    Step("-n NS wait --for=condition=Progressing deploy/web --timeout=20s", says: "condition met"),
    Step("-n NS rollout restart deploy web", says: "restarted"),
    Step("-n NS rollout pause deploy web", says: "paused"),
    Step("-n NS rollout resume deploy web", says: "resumed"),
    Step("-n NS rollout history deploy web", says: "REVISION", "1", "2"),
    Step("-n NS rollout undo deploy web --to-revision=1", says: "rolled back"),
    Step("-n NS get deploy web -o jsonpath={.spec.template.spec.containers[0].image}", says: "one"),
    Step("-n NS get events", says: "ScalingReplicaSet", "SuccessfulCreate"),
    Step("-n NS get serviceaccount default", says: "default"),
    Step("-n NS get configmap kube-root-ca.crt", says: "DATA"),
    Step("-n NS delete deploy web --cascade=orphan", says: "deleted"),
    Step("-n NS get rs", says: "web-"),
    Step("-n NS delete rs --all", says: "deleted"),
    Step("delete namespace NS --timeout=30s", says: "deleted"),
    .refused("get namespace NS", says: "NotFound"),
]

/// What kubectl does with a server alone is in `APIServerTests`; here is what needs controllers behind it.
@Suite("kubectl with controllers behind it")
struct KubectlRolloutTests {
    @Test(
        "every kubectl at hand rolls out, looks on, rolls back, and takes down",
        .enabled(if: !kubectlsAtHand().isEmpty, "no kubectl is at hand"))
    func everyVersion() async throws {
        try await KubectlServer.run { server in
            await withTaskGroup(of: Void.self) { group in
                for (index, kubectl) in kubectlsAtHand().enumerated() {
                    group.addTask { await work(kubectl, namespace: "kubectl-\(index)", server) }
                }
            }
        }
    }

    private func work(_ kubectl: String, namespace: String, _ server: KubectlServer) async {
        for step in steps {
            let arguments = step.arguments.split(separator: " ").map { $0 == "NS" ? namespace : String($0) }
            var call = ChildProcess.Configuration([kubectl] + arguments)
            call.environment = [
                "KUBECONFIG=\(server.kubeconfig)", "HOME=\(server.directory)/\(namespace)", "PATH=/usr/bin:/bin",
            ]
            do {
                let output = try await ChildProcess.run(
                    call, on: server.group.all[0], input: Array(step.input.utf8), timeout: .seconds(60))
                let text = output.text + output.errorText
                let missing = step.says.filter { !text.contains($0) }
                if output.status.isSuccess == step.fails || !missing.isEmpty {
                    Issue.record(
                        "\(kubectl) \(step.arguments): lacks \(missing) and \(output.status); it said: \(text)")
                }
            } catch {
                Issue.record("\(kubectl) \(step.arguments): \(error)")
            }
        }
    }
}
