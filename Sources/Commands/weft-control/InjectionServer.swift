import APIServer
import ClusterAPI
import ClusterClient
import HTTP
import JSON
import MeshControl
import Reactor
import TLS
import Telemetry

/// `POST /inject`: the same injection as a webhook, for API servers that are not Weft's.
struct InjectionServer: HTTPHandler {
    let review: InjectionReview
    let client: KubeClient

    func handle(_ request: HTTPRequest, _ response: HTTPResponseWriter) async {
        guard request.path == "/inject" else { return await response.send(status: 404, text: "404 page not found\n") }
        guard request.method == "POST" else {
            return await response.send(status: 405, text: "POST an AdmissionReview\n")
        }
        guard let body = try? JSONValue.parse(request.body),
            let answer = await review.answer(body, namespaceLabels: labels)
        else {
            return await response.send(status: 400, text: "the body is no AdmissionReview of admission.k8s.io/v1\n")
        }
        await response.send(status: 200, headers: ["content-type": "application/json"], body: answer.encoded())
    }

    /// Serves it where somebody wants it. Ends with the process: every call stands for itself.
    static func start(
        _ injector: PodInjector, _ settings: ControlSettings, _ api: APIServer, _ identity: TLSIdentity,
        group: EventLoopGroup, log: Log
    ) async throws {
        guard let address = settings.injectAddress else { return }
        let tls = try TLSContext(serving: [identity], protocols: ["h2", "http/1.1"])
        let server = HTTPServer(
            group: group, address: address, tls: tls, limits: APIServer.limits,
            handler: InjectionServer(review: InjectionReview(injector), client: KubeClient(api.transport())))
        let bound = try await server.start()
        log.info("serving injection", ["address": "\(bound)"])
    }

    private func labels(_ namespace: String) async throws -> [String: String] {
        try await client.find(.namespaces, ObjectKey(name: namespace))?.labels ?? [:]
    }
}
