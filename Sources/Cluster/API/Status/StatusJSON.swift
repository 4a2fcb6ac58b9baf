import JSON

extension StatusError {
    /// The body of kind `Status` that goes to the client.
    public var json: JSONValue {
        var body: JSONObject = [
            "kind": "Status", "apiVersion": "v1", "metadata": .object([:]), "status": "Failure",
            "message": .string(message), "reason": .string(reason.rawValue), "code": .int(Int64(code)),
        ]
        if !continueToken.isEmpty { body["metadata"] = .object(["continue": .string(continueToken)]) }
        if let details { body["details"] = .object(details.json) }
        return .object(body)
    }

    /// From the body of a failed request. Anything that is no `Status` yields nil.
    public init?(json: JSONValue) {
        guard json["kind"] == .string("Status"), json["status"] != .string("Success") else { return nil }
        let code = json["code"]?.int.flatMap { Int(exactly: $0) } ?? 500
        self.init(
            code: code, reason: Reason(rawValue: json["reason"]?.string ?? "Unknown"),
            message: json["message"]?.string ?? "the server answered \(code) without a message",
            details: json["details"].map(Details.init(json:)),
            continueToken: json["metadata"]?["continue"]?.string ?? "")
    }

    /// The body of kind `Status` that reports success, for example of an immediate delete.
    public static func success(details: Details) -> JSONValue {
        .object([
            "kind": "Status", "apiVersion": "v1", "metadata": .object([:]), "status": "Success",
            "details": .object(details.json),
        ])
    }
}

extension StatusError.Details {
    var json: JSONObject {
        var body = JSONObject()
        for (key, text) in [("name", name), ("group", group), ("kind", kind), ("uid", uid)] where !text.isEmpty {
            body[key] = .string(text)
        }
        if !causes.isEmpty { body["causes"] = .array(causes.map(\.json)) }
        if retryAfterSeconds > 0 { body["retryAfterSeconds"] = .int(Int64(retryAfterSeconds)) }
        return body
    }

    init(json: JSONValue) {
        self.init(
            name: json["name"]?.string ?? "", group: json["group"]?.string ?? "", kind: json["kind"]?.string ?? "",
            uid: json["uid"]?.string ?? "",
            causes: (json["causes"]?.array ?? []).map {
                StatusError.Cause(
                    type: $0["reason"]?.string ?? "", message: $0["message"]?.string ?? "",
                    field: $0["field"]?.string ?? "")
            },
            retryAfterSeconds: json["retryAfterSeconds"]?.int.flatMap { Int(exactly: $0) } ?? 0)
    }
}

extension StatusError.Cause {
    var json: JSONValue {
        var body = JSONObject()
        for (key, text) in [("reason", type), ("message", message), ("field", field)] where !text.isEmpty {
            body[key] = .string(text)
        }
        return .object(body)
    }
}
