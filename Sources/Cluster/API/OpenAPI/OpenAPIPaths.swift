import JSON

/// The paths of one resource with what can be done there, as OpenAPI describes it.
struct OpenAPIPaths {
    var dialect: OpenAPIDialect
    var resource: ResourceDescription
    var schema: Schema

    private static let protobuf = "application/vnd.kubernetes.protobuf"
    /// Strategic patches also of kinds that are custom resources upstream: where `kubectl apply` finds none offered it reads the whole of
    /// v2, which takes it longer than all the rest.
    private static let patchTypes = [
        "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
    ]

    /// Path and path item, in the order of their paths.
    func items() -> [(path: String, item: JSONValue)] {
        let gvr = resource.gvr
        let root = gvr.group.isEmpty ? "/api/\(gvr.version)" : "/apis/\(gvr.group)/\(gvr.version)"
        let scoped = resource.namespaced ? "\(root)/namespaces/{namespace}/\(gvr.resource)" : "\(root)/\(gvr.resource)"
        let verbs = Set(resource.verbs)
        var items: [(String, JSONValue)] = []

        func add(
            _ path: String, _ operations: [(method: String, action: String, verb: String)], sub: ServedSubresource?
        ) {
            let offered = sub.map { Set($0.verbs) } ?? verbs
            var item = JSONObject()
            for operation in operations where offered.contains(operation.verb) {
                item[operation.method] = self.operation(operation.action, path, sub: sub)
            }
            guard !item.isEmpty else { return }
            let names = ["name", "namespace"].filter { path.contains("{\($0)}") }
            if !names.isEmpty { item["parameters"] = .array(names.map(pathParameter)) }
            items.append((path, .object(item)))
        }
        if resource.namespaced { add("\(root)/\(gvr.resource)", [("get", "list", "list")], sub: nil) }
        add(
            scoped,
            [("get", "list", "list"), ("post", "post", "create"), ("delete", "deletecollection", "deletecollection")],
            sub: nil)
        let single = [
            ("get", "get", "get"), ("put", "put", "update"), ("patch", "patch", "patch"),
            ("delete", "delete", "delete"),
        ]
        add("\(scoped)/{name}", single, sub: nil)
        for sub in resource.served {
            add("\(scoped)/{name}/\(sub.name)", single + [("post", "post", "create")], sub: sub)
        }
        return items
    }

    private func operation(_ action: String, _ path: String, sub: ServedSubresource?) -> JSONValue {
        let types = OpenAPISchema(dialect: dialect)
        let connects = ["attach", "exec", "portforward", "proxy"].contains(sub?.name)
        let isText = connects || sub?.name == "log"
        let kind = sub?.kind ?? resource.gvk
        let type = isText ? nil : resource.type(of: sub)
        var result: JSONValue
        switch action {
        case "list": result = .object(types.reference(resource.typeName + "List"))
        case "delete", "deletecollection": result = .object(types.reference("apis.meta.v1.Status"))
        default: result = type.map { .object(types.reference($0)) } ?? ["type": "string"]
        }
        var body: JSONObject = [
            "operationId": .string(identifier(action, path, sub: sub)),
            "x-kubernetes-action": .string(connects ? "connect" : action),
            "x-kubernetes-group-version-kind": kind.json,
        ]
        var parameters = queryParameters(action, connects: connects)
        let input: JSONValue? =
            switch action {
            case "post", "put": connects ? nil : result
            case "patch": .object(types.reference("apis.meta.v1.Patch"))
            case "delete", "deletecollection": .object(types.reference("apis.meta.v1.DeleteOptions"))
            default: nil
            }
        let consumes = action == "patch" ? Self.patchTypes : ["application/json", "application/yaml"]
        var produces = ["application/json", "application/yaml"]
        // What upstream serves as custom resources has no such form.
        if ProtobufCodec(schema: schema).canEncode(kind) { produces.append(Self.protobuf) }
        if action == "list" { produces += produces.filter { $0 != "application/yaml" }.map { $0 + ";stream=watch" } }
        if isText { produces = ["*/*"] }
        if sub?.name == "log" { result = ["type": "string"] }
        let success = action == "post" && !connects ? "201" : "200"
        switch dialect {
        case .v2:
            if let input {
                parameters.append([
                    "name": "body", "in": "body", "required": .bool(!action.hasPrefix("delete")), "schema": input,
                ])
                body["consumes"] = .array(consumes.map { .string($0) })
            }
            body["produces"] = .array(produces.map { .string($0) })
            body["responses"] = .object([
                success: ["description": "OK", "schema": result], "401": ["description": "Unauthorized"],
            ])
        case .v3:
            if let input {
                body["requestBody"] = [
                    "content": content(consumes, input), "required": .bool(!action.hasPrefix("delete")),
                ]
            }
            body["responses"] = .object([
                success: ["description": "OK", "content": content(produces, result)],
                "401": ["description": "Unauthorized"],
            ])
        }
        if !parameters.isEmpty { body["parameters"] = .array(parameters) }
        return .object(body)
    }

    private func content(_ types: [String], _ schema: JSONValue) -> JSONValue {
        var body = JSONObject()
        for type in types { body[type] = ["schema": schema] }
        return .object(body)
    }

    /// `listCoreV1NamespacedPod`, unique in the document.
    private func identifier(_ action: String, _ path: String, sub: ServedSubresource?) -> String {
        let verb =
            switch action {
            case "get": "read"
            case "put": "replace"
            case "post": "create"
            case "deletecollection": "deleteCollection"
            default: action
            }
        let group = resource.gvr.group.split(separator: ".").first.map(String.init) ?? "core"
        var scope = resource.namespaced ? "Namespaced" : ""
        if resource.namespaced, !path.contains("{namespace}") { scope = "ForAllNamespaces" }
        let words = [group, resource.gvr.version, scope, resource.gvk.kind, sub?.name ?? ""]
        return verb + words.map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }

    private func pathParameter(_ name: String) -> JSONValue { parameter(name, "string", place: "path") }

    private func parameter(_ name: String, _ type: String, place: String = "query") -> JSONValue {
        var body: JSONObject = ["name": .string(name), "in": .string(place)]
        if place == "path" { body["required"] = true }
        switch dialect {
        case .v2:
            body["type"] = .string(type)
            body["uniqueItems"] = true
        case .v3: body["schema"] = ["type": .string(type)]
        }
        return .object(body)
    }

    private func queryParameters(_ action: String, connects: Bool) -> [JSONValue] {
        if connects { return [] }
        var wanted: [(String, String)] = [("pretty", "string")]
        switch action {
        case "post", "put":
            wanted += [("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")]
        case "patch":
            wanted += [
                ("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean"),
            ]
        case "delete", "deletecollection":
            wanted += [
                ("dryRun", "string"), ("gracePeriodSeconds", "integer"), ("orphanDependents", "boolean"),
                ("propagationPolicy", "string"),
            ]
        default: break
        }
        if action == "list" { wanted += [("allowWatchBookmarks", "boolean"), ("watch", "boolean")] }
        if action == "list" || action == "deletecollection" {
            wanted += [
                ("continue", "string"), ("fieldSelector", "string"), ("labelSelector", "string"), ("limit", "integer"),
                ("resourceVersion", "string"), ("resourceVersionMatch", "string"), ("sendInitialEvents", "boolean"),
                ("timeoutSeconds", "integer"),
            ]
        }
        return wanted.map { parameter($0.0, $0.1) }
    }
}
