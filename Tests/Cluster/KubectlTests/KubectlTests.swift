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
    Step("version", says: "v1.36"),
    Step("api-resources", says: "deployments", "deploy", "apps/v1", "networkpolicies", "netpol"),
    Step("api-versions", says: "apps/v1", "discovery.k8s.io/v1"),
    Step("create namespace NS", says: "created"),
    .refused("create namespace NS", says: "AlreadyExists", "already exists"),
    .refused("create namespace Bad_Name", says: "RFC 1123"),
    Step("explain deployment.spec.strategy", says: "rollingUpdate"),
    Step("-n NS apply -f -", deployment(replicas: 2), says: "deployment.apps/web created", "service/web created"),
    Step("-n NS apply -f -", deployment(replicas: 2), says: "deployment.apps/web unchanged"),
    Step("-n NS apply -f -", deployment(replicas: 3), says: "deployment.apps/web configured", "service/web unchanged"),
    .refused("-n NS apply -f -", deployment(replicas: 3, extra: "bogus: 1"), says: "unknown field", "bogus"),
    Step("-n NS get deployments", says: "NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "web", "/3"),
    Step("-n NS get deploy -o wide", says: "CONTAINERS", "IMAGES", "SELECTOR", "app=web"),
    Step("-n NS wait --for=condition=Progressing deploy/web --timeout=20s", says: "condition met"),
    Step("-n NS get pods -o wide", says: "RESTARTS", "NOMINATED NODE", "READINESS GATES", "Pending"),
    Step("-n NS get pods --field-selector status.phase=Pending -l app=web", says: "web-"),
    Step("-n NS get pods -l app=none", says: "No resources found"),
    .refused("-n NS get pods --field-selector status.bogus=1", says: "field label not supported: status.bogus"),
    Step("-n NS get svc,netpol", says: "CLUSTER-IP", "PORT(S)", "80/TCP", "POD-SELECTOR"),
    Step("-n NS describe deploy web", says: "RollingUpdate", "NewReplicaSet"),
    Step("-n NS scale deploy web --replicas=1", says: "scaled"),
    Step("-n NS label deploy web x=y", says: "labeled"),
    Step("-n NS set image deploy/web c=two", says: "image updated"),
    Step("-n NS rollout history deploy web", says: "REVISION"),
    Step("-n NS rollout restart deploy web", says: "restarted"),
    Step("-n NS patch deploy web --type=merge -p {\"spec\":{\"minReadySeconds\":1}}", says: "patched"),
    Step(
        "-n NS patch deploy web --type=json -p [{\"op\":\"replace\",\"path\":\"/spec/minReadySeconds\",\"value\":2}]",
        says: "patched"),
    Step("-n NS get deploy web -o jsonpath={.spec.minReadySeconds}", says: "2"),
    .refused(
        "-n NS patch svc web -p {\"spec\":{\"clusterIP\":\"10.96.77.77\"}}", says: "Invalid value",
        "may not change once set"),
    Step("-n NS create configmap c --from-literal=a=b", says: "created"),
    Step("-n NS create secret generic s --from-literal=a=b", says: "created"),
    Step("-n NS get cm,secret", says: "DATA", "Opaque"),
    Step("-n NS create deployment d2 --image=x", says: "created"),
    Step("-n NS expose deploy d2 --port=80 --type=NodePort", says: "exposed"),
    Step("-n NS get svc d2", says: "NodePort", "80:3"),
    Step("-n NS create deployment d3 --image=x --dry-run=server", says: "dry run"),
    Step("-n NS create role r --verb=get --resource=pods", says: "created"),
    Step("auth can-i create pods", says: "yes"),
    .refused("-n NS get pod nothing", says: "NotFound", "not found"),
    Step("-n NS get events", says: "ScalingReplicaSet"),
    Step("-n NS delete deploy web", says: "deleted"),
    Step("delete namespace NS --timeout=30s", says: "deleted"),
    .refused("get namespace NS", says: "NotFound"),
]

@Suite("kubectl as it is")
struct KubectlTests {
    @Test(
        "every kubectl at hand does what people do with it, and is refused in the words it knows",
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
