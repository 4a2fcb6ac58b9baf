import ClusterAPI
import JSON
import TLS

extension Registry {
    /// POST: decode, default, mutate, validate, allocate, store.
    func create(_ call: APICall) async throws(StatusError) -> APIAnswer {
        let options = try WriteOptions(call.parameters)
        var warnings: [String] = []
        var object = try decode(
            try call.requireBody(), as: call.resource, options.fieldValidation, warnings: &warnings)
        warnings += ObjectValidation.remarks(object, call.resource.gvk)
        try place(&object, at: call, nameRequired: false)
        let stored = try await create(object, call, dryRun: options.dryRun, warnings: &warnings)
        return APIAnswer(code: 201, content: .object(stored), warnings: warnings)
    }

    /// Creates an object that is decoded and placed, for nobody who would read warnings.
    func create(_ body: JSONValue, _ call: APICall) async throws(StatusError) -> StoredObject {
        var warnings: [String] = []
        return try await create(body, call, warnings: &warnings)
    }

    /// Creates an object that is decoded and placed.
    /// - Parameter warnings: gets what admission has to say to the client.
    func create(
        _ body: JSONValue, _ call: APICall, dryRun: Bool = false, warnings: inout [String]
    ) async throws(StatusError) -> StoredObject {
        var object = body
        let strategy = strategy(call.resource)
        try begin(&object, call)
        Defaulting.apply(to: &object, of: call.resource.gvk)
        let generated = object["metadata"]?["generateName"]?.string.flatMap { $0.isEmpty ? nil : $0 }
        let isGenerated = (object["metadata"]?["name"]?.string ?? "").isEmpty
        var attempt = 0
        while true {
            var candidate = object
            if isGenerated, let generated { candidate["metadata"]?["name"] = .string(GeneratedName.from(generated)) }
            let key = ObjectKey(namespace: call.namespace, name: candidate["metadata"]?["name"]?.string ?? "")
            try await admission.admit(&candidate, old: nil, call, in: self)
            let remarks = try await admission.admitAdded(&candidate, call, in: self)
            strategy.prepareForCreate(&candidate)
            strategy.canonicalize(&candidate)
            var problems = ObjectValidation.create(
                candidate, call.resource.gvk, namespaced: call.resource.namespaced)
            problems += missingFields(candidate, call.resource, besides: problems)
            guard problems.isEmpty else { throw .invalid(call.resource.gvk, key.name, problems) }
            if call.resource.gvr == .services, try await storage.find(call.resource, key) != nil {
                // Said before its own address is found to be taken, by itself.
                throw .alreadyExists(call.resource.gvr, key.name)
            }
            let lease = try await services.allocate(&candidate, old: nil, call.resource, dryRun: dryRun)
            do throws(StatusError) {
                let encoded = self.encoded(candidate, call.resource)
                if dryRun {
                    if try await storage.find(call.resource, key) != nil {
                        throw StatusError.alreadyExists(call.resource.gvr, key.name)
                    }
                    lease.giveBack()
                    warnings += remarks
                    return encoded
                }
                let stored = try await storage.create(call.resource, key, encoded)
                warnings += remarks
                return stored
            } catch {
                lease.giveBack()
                guard isGenerated, error.reason == .alreadyExists, attempt < Self.nameRetries else { throw error }
                attempt += 1
            }
        }
    }

    /// The metadata that only the server writes.
    private func begin(_ object: inout JSONValue, _ call: APICall) throws(StatusError) {
        var metadata = object["metadata"]?.object ?? JSONObject()
        let name = metadata["name"]?.string ?? ""
        if name.isEmpty, (metadata["generateName"]?.string ?? "").isEmpty {
            throw .invalid(
                call.resource.gvk, "",
                [
                    FieldError.required("metadata.name", "name or generateName is required")
                ])
        }
        if let version = metadata["resourceVersion"]?.string, !version.isEmpty, version != "0" {
            throw .badRequest("resourceVersion should not be set on objects to be created")
        }
        for field in [
            "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields",
        ] {
            metadata[field] = nil
        }
        metadata["uid"] = .string(makeUUID())
        metadata["creationTimestamp"] = Self.timestamp()
        metadata["generation"] = strategy(call.resource).hasGeneration ? 1 : nil
        object["metadata"] = .object(metadata)
    }
}
