import Glibc
import JSON
import Reactor
import Testing

/// A namespace that a person puts into the mesh with kubectl, on a node with the real programs.
@Suite(
    "Sidecars, from a label to a running proxy", .serialized,
    .enabled(if: OtherMachine.hasMesh, "root, all programs, kubectl"),
    .timeLimit(.minutes(5)))
struct InjectionPathTests {
    /// The app asks, as the first thing it does, whether its sidecar is ready.
    private static let objects = """
        apiVersion: v1
        kind: Namespace
        metadata: {name: shop, labels: {mesh.weft.dev/inject: enabled}}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: web, namespace: shop, labels: {app: web}}
        spec:
          terminationGracePeriodSeconds: 5
          initContainers:
          - {name: first, image: weft.local/host, command: [sh, -c, "curl -s http://127.0.0.1:15021/healthz/ready"]}
          containers:
          - name: app
            image: weft.local/host
            command: [sh, -c, "curl -s http://127.0.0.1:15021/healthz/ready; exec python3 -m http.server 8080"]
            readinessProbe: {httpGet: {port: 8080, path: /}, periodSeconds: 1}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: count, namespace: shop}
        spec:
          restartPolicy: Never
          containers: [{name: work, image: weft.local/host, command: [echo, done]}]
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: outside, namespace: shop, labels: {mesh.weft.dev/inject: "false"}}
        spec:
          containers: [{name: app, image: weft.local/host, command: [sleep, "3600"]}]
        """

    @Test(
        "a labelled namespace: the sidecar is ready before anything else runs, what ends by itself ends, and the pod has no rights for it"
    )
    func path() throws {
        let cluster = try MeshedMachine()
        func run(_ arguments: String...) throws -> OtherMachine.Output { try cluster.run(arguments) }
        try cluster.apply(Self.objects)
        try cluster.waitReady("web", "outside")

        #expect(try cluster.kubectl("logs", "-n", "shop", "web", "-c", "first").contains("LIVE"))
        #expect(try cluster.kubectl("logs", "-n", "shop", "web", "-c", "app").contains("LIVE"))
        #expect(try run("logs", "-n", "shop", "web", "-c", "weft-proxy").succeeded)
        _ = try cluster.kubectl(
            "wait", "-n", "shop", "pod/count", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s")

        let pod = try JSONValue.parse(Array(cluster.kubectl("get", "pod", "-n", "shop", "web", "-o", "json").utf8))
        let names = (pod["spec"]?["initContainers"]?.array ?? []).compactMap { $0["name"]?.string }
        #expect(names == ["weft-proxy", "first"])
        let proxy = (pod["status"]?["initContainerStatuses"]?.array ?? []).first { $0["name"] == "weft-proxy" }
        #expect(proxy?["started"] == true && proxy?["restartCount"] == 0, "\(proxy ?? .null)")
        let outside = try cluster.kubectl(
            "get", "pod", "-n", "shop", "outside", "-o", "jsonpath={.spec.initContainers}")
        #expect(outside.isEmpty)

        // What is in force in the pods: one has the table, the other none.
        let sandboxes = try cluster.machine.run(
            "sh", "-c",
            "for n in \(cluster.machine.cluster)/nodes/node-1/run/sandboxes/*/net; do nsenter --net=$n nft list tables; echo --; done"
        )
        #expect(sandboxes.text.contains("table inet weft_mesh"), "\(sandboxes.text)")

        let host = try run(
            "run", "host", "-n", "shop", "--image", "weft.local/host", "--dry-run=server", "--overrides",
            #"{"spec":{"hostNetwork":true}}"#)
        #expect(host.text.contains("no sidecar was injected") && host.text.contains("hostNetwork"), "\(host.text)")
        let wrong = try run(
            "run", "wrong", "-n", "shop", "--image", "weft.local/host",
            "--annotations", "traffic.sidecar.istio.io/excludeOutboundPorts=http")
        #expect(
            !wrong.succeeded && wrong.text.contains("traffic.sidecar.istio.io/excludeOutboundPorts"), "\(wrong.text)")
    }
}
