import APIServer
import Bytes
import ClusterAPI
import ClusterClient
import HTTP
import JSON
import Reactor
import TLS
import Testing

/// One command and what it must print.
private struct Step {
    var command: String
    var input: String?
    /// Parts that must all be printed.
    var prints: [String]
    var fails = false
    /// First minor version that has the command.
    var since = 0

    init(_ command: String, input: String? = nil, _ prints: String..., fails: Bool = false, since: Int = 0) {
        self.command = command
        self.input = input
        self.prints = prints
        self.fails = fails
        self.since = since
    }
}

private let shop = """
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: conf, namespace: default, labels: {app: shop}}
    data: {greeting: one}
    ---
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: cart, namespace: default}
    spec:
      replicas: 2
      selector: {matchLabels: {app: cart}}
      template:
        metadata: {labels: {app: cart}}
        spec:
          containers: [{name: c, image: weft.local/host, ports: [{containerPort: 80}]}]
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: cart, namespace: default}
    spec: {selector: {app: cart}, ports: [{port: 80}]}
    """

private let steps: [Step] = [
    Step("version", "v1.36.2+weft"), Step("api-versions", "apps/v1", "discovery.k8s.io/v1"),
    Step("api-resources --verbs=list", "deployments", "endpointslices"),
    Step("get ns", "kube-system", "Active"), Step("cluster-info", "is running at"),
    Step("apply -f -", input: shop, "configmap/conf created", "deployment.apps/cart created", "service/cart created"),
    Step(
        "apply -f -", input: shop, "configmap/conf unchanged", "deployment.apps/cart unchanged",
        "service/cart unchanged"),
    Step("apply -f -", input: shop.replacing("replicas: 2", with: "replicas: 3"), "deployment.apps/cart configured"),
    Step(
        "apply --dry-run=server -f -", input: shop.replacing("one", with: "two"),
        "configmap/conf configured (server dry run)"),
    Step("diff -f -", input: shop.replacing("replicas: 2", with: "replicas: 4"), "replicas: 4", fails: true),
    Step("apply -f -", input: shop.replacing("\ndata:", with: "\nbogus: 1\ndata:"), "bogus", fails: true),
    Step("get deploy,svc -o wide", "deployment.apps/cart", "service/cart", "ClusterIP", "app=cart"),
    Step("get cm conf -o yaml", "greeting: one", "kind: ConfigMap"), Step("get cm conf -o json", #""greeting": "one""#),
    Step("get cm -o name", "configmap/conf"), Step("get cm -l app=shop", "conf"),
    Step("get cm -l app=other", "No resources found"), Step("get cm --field-selector metadata.name=conf", "conf"),
    Step("get cm conf -o jsonpath={.data.greeting}", "one"), Step("get all", "deployment.apps/cart"),
    Step("get pods -A --chunk-size=1", "shown"), Step("get cm none", "not found", fails: true),
    Step("describe deploy cart", "cart", "RollingUpdate"), Step("describe svc cart", "10.96.0."),
    Step("describe cm conf", "greeting"), Step("describe ns default", "Active"),
    Step("describe pod shown", "shown", "n1"),
    Step("describe node n1", "n1"),
    Step("scale deploy/cart --replicas=4", "scaled"), Step("get deploy cart -o jsonpath={.spec.replicas}", "4"),
    Step("label cm conf tier=back", "configmap/conf labeled"), Step("annotate cm conf note=x", "annotate"),
    Step("label cm conf tier-", "configmap/conf"),
    Step(#"patch cm conf -p {"data":{"a":"1"}}"#, "configmap/conf patched"),
    Step(#"patch cm conf --type=merge -p {"data":{"b":"2"}}"#, "configmap/conf patched"),
    Step(#"patch cm conf --type=json -p [{"op":"add","path":"/data/c","value":"3"}]"#, "configmap/conf patched"),
    Step("get cm conf -o jsonpath={.data.a}{.data.b}{.data.c}", "123"),
    Step("edit cm conf", "configmap/conf edited"), Step("get cm conf -o jsonpath={.data.greeting}", "edited"),
    Step("create configmap lit --from-literal=k=v", "configmap/lit created"),
    Step("create secret generic sec --from-literal=k=v", "secret/sec created"),
    Step("create serviceaccount bot", "serviceaccount/bot created"),
    Step("create namespace extra", "namespace/extra created"),
    Step("create deployment web --image=weft.local/host", "deployment.apps/web created"),
    Step("create service nodeport web --tcp=80", "service/web created"),
    Step("create token bot", "ey", since: 24),
    Step("create configmap lit --from-literal=k=v", "already exists", fails: true),
    Step(
        "replace -f -", input: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: lit}\ndata: {k: w}\n",
        "configmap/lit replaced"),
    Step("set image deploy/web *=weft.local/other", "deployment.apps/web image updated"),
    Step("rollout restart deploy/web", "restarted"), Step("rollout history deploy/web", "web"),
    Step("rollout status deploy/cart --timeout=20s", "successfully rolled out"),
    Step("wait --for=condition=Available deploy/cart --timeout=20s", "condition met"),
    Step("wait --for=jsonpath={.data.k}=w cm/lit --timeout=20s", "condition met", since: 23),
    Step("expose deploy cart --name=again --port=80", "service/again exposed"),
    Step("cordon n1", "node/n1 cordoned"), Step("get nodes", "SchedulingDisabled"),
    Step("uncordon n1", "node/n1 uncordoned"),
    Step("taint node n1 k=v:NoSchedule", "node/n1 tainted"),
    Step("logs shown", "/containerLogs/default/shown/c"), Step("logs shown --tail=3 -f", "follow=true"),
    Step("auth can-i create pods", "yes"), Step("auth can-i --list", "Resources"),
    Step("auth whoami", "admin", since: 28),
    Step("explain deployment.spec.replicas", "replicas"), Step("explain pod", "spec"),
    Step("get events", ""), Step("get --raw /readyz", "ok"),
    Step("delete cm lit", "configmap \"lit\" deleted"), Step("delete secret sec --wait=false", "deleted"),
    Step("delete svc web again", "deleted"), Step("delete deploy web --cascade=background", "deleted"),
    Step("delete deploy cart --cascade=orphan --wait=false", "deleted"),
    Step("delete pod shown --grace-period=0 --force", "deleted"), Step("get cm -A", "conf"),
    Step("delete cm --all", "deleted"), Step("get cm", "No resources found"),
]

@Suite("real kubectls")
struct KubectlTests {
    @Test("every command of the table works as it is", arguments: Kubectl.found)
    func table(_ kubectl: Kubectl) async throws {
        try await TestServer.with(nodeAgents: true) { server in
            let (agent, controller) = try await prepare(server)
            defer { controller.cancel() }
            let kubeconfig = try server.kubeconfig()
            for step in steps where kubectl.minor >= step.since {
                let output = try await kubectl.run(
                    step.command.split(separator: " ").map(String.init), kubeconfig: kubeconfig, home: server.folder,
                    environment: ["KUBE_EDITOR=sed -i s/one/edited/", "KUBECTL_EXTERNAL_DIFF=diff"], input: step.input)
                let isAsExpected =
                    (output.status != 0) == step.fails
                    && step.prints.allSatisfy { $0.isEmpty || output.text.contains($0) }
                #expect(
                    isAsExpected, "kubectl \(kubectl.version) \(step.command): status \(output.status)\n\(output.text)")
            }
            await agent.drain(deadline: .seconds(1))
        }
    }

    @Test("get -w shows what happens while it happens", arguments: Kubectl.found)
    func watching(_ kubectl: Kubectl) async throws {
        try await TestServer.with { server in
            let kubeconfig = try server.kubeconfig()
            try await server.make(.configMaps, configMap("first"))
            async let output = kubectl.run(
                ["get", "cm", "-w", "--request-timeout=4s"], kubeconfig: kubeconfig, home: server.folder)
            // Until the command watches; its own list comes before.
            let deadline = ContinuousClock.now + .seconds(60)
            let client = try server.client()
            while ContinuousClock.now < deadline {
                let metrics = String(decoding: try await client.get("/metrics").body, as: UTF8.self)
                if metrics.contains(#"apiserver_longrunning_requests{verb="WATCH"} 1"#) { break }
                try await Task.sleep(for: .milliseconds(20))
            }
            try await server.make(.configMaps, configMap("second"))
            let text = try await output.text
            #expect(text.contains("first") && text.contains("second"), "\(text)")
        }
    }

    /// A node with a scripted agent, a pod on it, and a Deployment controller's word that the rollout is done.
    private func prepare(_ server: TestServer) async throws -> (agent: HTTPServer, controller: Task<Void, any Error>) {
        let tls = try TLSContext(
            serving: [
                try server.authority.issue(
                    CertificateTemplate(
                        subject: DistinguishedName(commonName: "node"),
                        names: AlternativeNames(addresses: [.loopbackV4]),
                        purpose: .server))
            ], clientCertificates: .required, trust: TrustPool([server.authority.certificate]))
        let agent = HTTPServer(
            group: server.group, address: .ip(.loopbackV4, 0, scope: 0), tls: tls,
            handler: HTTPClosureHandler { request, response in
                await response.send(status: 200, text: "\(request.target)\n")
            })
        let port = try await agent.start().port!.rawValue
        try await server.make(
            .nodes,
            [
                "metadata": ["name": "n1"],
                "status": [
                    "addresses": [["type": "InternalIP", "address": "127.0.0.1"]],
                    "daemonEndpoints": ["kubeletEndpoint": ["Port": .int(Int64(port))]],
                ],
            ])
        try await server.make(.serviceAccounts, ["metadata": ["name": "default", "namespace": "default"]])
        var shown = pod("shown")
        shown["spec"]?["nodeName"] = "n1"
        try await server.make(.pods, shown)
        let local = server.local
        // The part of a Deployment controller that clients wait for.
        let controller = Task {
            let watch = try await local.watch(APIRequest(.list, .deployments))
            while let event = try await watch.next() {
                guard event.kind == .added || event.kind == .modified, let wanted = event.object.spec["replicas"],
                    event.object.status["observedGeneration"]?.int != event.object.generation
                else { continue }
                var object = event.object
                object.json["metadata"]?["resourceVersion"] = nil
                object.status = [
                    "observedGeneration": .int(object.generation), "replicas": wanted, "updatedReplicas": wanted,
                    "readyReplicas": wanted, "availableReplicas": wanted,
                    "conditions": [["type": "Available", "status": "True"]],
                ]
                _ = try? await local.send(
                    APIRequest(
                        .update, .deployments, namespace: object.namespace, name: object.name,
                        subresource: "status",
                        body: object.json))
            }
        }
        return (agent, controller)
    }
}
