import ClusterAPI
import JSON
import Testing

@Suite("Status errors")
struct StatusErrorTests {
    static let messages: [(StatusError, Int, String, String)] = [
        (.notFound(.pods, "x"), 404, "NotFound", #"pods "x" not found"#),
        (.notFound(.deployments, "web"), 404, "NotFound", #"deployments.apps "web" not found"#),
        (.alreadyExists(.services, "a"), 409, "AlreadyExists", #"services "a" already exists"#),
        (
            .conflict(.replicaSets, "r"), 409, "Conflict",
            #"Operation cannot be fulfilled on replicasets.apps "r": the object has been modified; please apply your changes to the latest version and try again"#
        ),
        (
            .forbidden(.pods, #"User "u" cannot list resource "pods" in API group "" in the namespace "n""#), 403,
            "Forbidden",
            #"pods is forbidden: User "u" cannot list resource "pods" in API group "" in the namespace "n""#
        ),
        (.unauthorized(), 401, "Unauthorized", "Unauthorized"),
        (
            .resourceVersionTooLarge(9, current: 5), 504, "Timeout",
            "Timeout: Too large resource version: 9, current: 5"
        ),
        (.tooOldResourceVersion(3, oldest: 8), 410, "Expired", "too old resource version: 3 (8)"),
        (
            .methodNotAllowed(.bindings, "list"), 405, "MethodNotAllowed",
            #"list is not supported on resources of kind "bindings""#
        ),
        (
            .notAcceptable(accepted: ["application/json", "application/yaml"]), 406, "NotAcceptable",
            "only the following media types are accepted: application/json, application/yaml"
        ),
        (
            .unsupportedMediaType(accepted: ["application/json"]), 415, "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json"
        ),
        (.internalError("disk full"), 500, "InternalError", "Internal error occurred: disk full"),
    ]

    @Test("a failure has upstream's code, reason and words", arguments: messages)
    func words(error: StatusError, code: Int, reason: String, message: String) {
        #expect(error.code == code)
        #expect(error.reason.rawValue == reason)
        #expect(error.message == message)
    }

    @Test("one field error stands alone, several in brackets, and each is a cause")
    func invalid() {
        let kind = GroupVersionKind(group: "apps", kind: "Deployment")
        let required = FieldError.required("spec.selector")
        let one = StatusError.invalid(kind, "web", [required])
        #expect(one.message == #"Deployment.apps "web" is invalid: spec.selector: Required value"#)
        let path = FieldPath("spec").child("ports").index(0).child("port")
        let two = StatusError.invalid(
            kind, "web", [required, .invalid(path, 70000, "must be between 1 and 65535, inclusive")])
        #expect(
            two.message
                == #"Deployment.apps "web" is invalid: [spec.selector: Required value, spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive]"#
        )
        #expect(two.details?.causes.map(\.type) == ["FieldValueRequired", "FieldValueInvalid"])
        #expect(two.details?.causes.last?.field == "spec.ports[0].port")
        #expect(two.details?.kind == "Deployment")
    }

    @Test(
        "a field error says what upstream says",
        arguments: [
            (
                FieldError.notSupported("spec.type", "X", supported: ["NodePort", "ClusterIP"]),
                #"spec.type: Unsupported value: "X": supported values: "ClusterIP", "NodePort""#
            ),
            (.duplicate("a.b", "x\"y"), #"a.b: Duplicate value: "x\"y""#),
            (
                .tooLong("metadata.annotations", limit: 262144),
                "metadata.annotations: Too long: may not be more than 262144 bytes"
            ),
            (
                .tooMany("endpoints", count: 1001, limit: 1000),
                "endpoints: Too many: 1001: must have at most 1000 items"
            ),
            (.forbidden("spec", "no"), "spec: Forbidden: no"),
            (
                .invalid("spec.replicas", -1, "must be greater than or equal to 0"),
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0"
            ),
        ])
    func fieldErrors(error: FieldError, text: String) {
        #expect(error.description == text)
    }

    @Test("a failure survives the way to the client and back", arguments: messages.map(\.0))
    func roundTrip(error: StatusError) throws {
        let bytes = error.json.encoded()
        #expect(StatusError(json: try JSONValue.parse(bytes)) == error)
    }

    @Test("a status of success is no error")
    func success() {
        #expect(StatusError(json: StatusError.success(details: .init(name: "x", kind: "pods"))) == nil)
        #expect(StatusError(json: ["kind": "Pod"]) == nil)
    }

    @Test("a refusal for a while says for how long")
    func retry() {
        #expect(StatusError.tooManyRequests("wait", retryAfterSeconds: 10).retryAfter == 10)
        #expect(StatusError.resourceVersionTooLarge(2, current: 1).retryAfter == 1)
        #expect(StatusError.resourceVersionTooLarge(2, current: 1).hasCause("ResourceVersionTooLarge"))
        #expect(StatusError.notFound(.pods, "x").retryAfter == nil)
    }
}
