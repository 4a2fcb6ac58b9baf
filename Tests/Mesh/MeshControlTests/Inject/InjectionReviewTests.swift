import Bytes
import ClusterAPI
import JSON
import MeshControl
import Testing

@Suite("Injection as a webhook")
struct InjectionReviewTests {
    private let review = InjectionReview(PodInjector(SidecarSettings()))

    private func request(_ pod: JSONValue, operation: String = "CREATE") -> JSONValue {
        [
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": [
                "uid": "u-1", "kind": ["group": "", "version": "v1", "kind": "Pod"],
                "resource": ["group": "", "version": "v1", "resource": "pods"], "namespace": "shop",
                "operation": .string(operation), "object": pod,
            ],
        ]
    }

    private let pod: JSONValue = [
        "metadata": ["generateName": "web-"], "spec": ["containers": [["name": "app", "image": "a"]]],
    ]

    @Test("the patch turns the pod into what admission within the API server makes of it")
    func patch() async throws {
        let labels = ["mesh.weft.dev/inject": "enabled"]
        let answer = try #require(await review.answer(request(pod)) { _ in labels })
        let response = try #require(answer["response"])
        #expect(answer["kind"] == "AdmissionReview" && answer["apiVersion"] == "admission.k8s.io/v1")
        #expect(response["uid"] == "u-1" && response["allowed"] == true && response["patchType"] == "JSONPatch")
        let patch = try #require(response["patch"]?.string.flatMap { Base64.decode($0) })
        let patched = try JSONPatch.apply(try JSONValue.parse(patch), to: pod)
        let outcome = try PodInjector(SidecarSettings()).inject(pod, namespace: "shop", namespaceLabels: labels)
        #expect(patched == outcome.pod)
    }

    @Test("what is not injected is allowed without a patch, an update as well")
    func untouched() async throws {
        for (operation, labels) in [("CREATE", [:]), ("UPDATE", ["mesh.weft.dev/inject": "enabled"])] {
            let answer = await review.answer(request(pod, operation: operation)) { _ in labels }
            #expect(answer?["response"] == ["uid": "u-1", "allowed": true])
        }
    }

    @Test("a pod whose annotations are wrong is not allowed, and the status says why")
    func refused() async throws {
        var wrong = pod
        wrong["metadata"]?["annotations"] = ["sidecar.istio.io/proxyCPU": "lots"]
        let answer = await review.answer(request(wrong)) { _ in ["istio-injection": "enabled"] }
        #expect(answer?["response"]?["allowed"] == false)
        #expect(answer?["response"]?["status"]?["message"]?.string?.contains("sidecar.istio.io/proxyCPU") == true)
    }

    @Test(
        "a body that is no review is none",
        arguments: ["{}", "[]", "null", #"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}"#])
    func noReview(_ text: String) async throws {
        #expect(await review.answer(try JSONValue.parse(text)) { _ in [:] } == nil)
    }
}
