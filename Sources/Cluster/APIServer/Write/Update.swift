import ClusterAPI
import JSON
import Store

extension Registry {
    /// PUT of an object or of its status.
    func update(_ call: APICall) async throws(StatusError) -> APIAnswer {
        let options = try WriteOptions(call.parameters)
        var warnings: [String] = []
        var object = try decode(
            try call.requireBody(), as: call.resource, options.fieldValidation, warnings: &warnings)
        if call.subresource.isEmpty { warnings += ObjectValidation.remarks(object, call.resource.gvk) }
        try place(&object, at: call, nameRequired: true)
        let strategy = strategy(call.resource)
        let expected = object["metadata"]?["resourceVersion"]?.string ?? ""
        if expected.isEmpty || expected == "0", strategy.requiresResourceVersion, call.subresource.isEmpty {
            throw .invalid(
                call.resource.gvk, call.name,
                [
                    FieldError.invalid(
                        "metadata.resourceVersion", 0, "must be specified for an update")
                ])
        }
        if call.subresource.isEmpty, strategy.createsOnUpdate,
            try await storage.find(call.resource, call.key) == nil, expected.isEmpty
        {
            let stored = try await create(object, call, dryRun: options.dryRun, warnings: &warnings)
            return APIAnswer(code: 201, content: .object(stored), warnings: warnings)
        }
        let update = object
        let stored = try await change(call, dryRun: options.dryRun) { _ throws(StatusError) in update }
        return APIAnswer(content: .object(stored), warnings: warnings)
    }

    /// Reads, changes and writes an object under the rules of updates, again and again while others get in between.
    ///
    /// When `transform` leaves a resourceVersion other than the one read, that is an expectation of the client's, and
    /// a miss is a conflict at once.
    /// - Parameter transform: the object as the client wants it, from the object as it is.
    func change(
        _ call: APICall, dryRun: Bool = false, transform: (JSONValue) async throws(StatusError) -> JSONValue
    ) async throws(StatusError) -> StoredObject {
        for _ in 0..<Self.conflictRetries {
            let read = try await storage.get(call.resource, call.key)
            let old = try value(of: read, call.resource)
            var object = try await transform(old)
            try checkPreconditions(object, old, call)
            Defaulting.apply(to: &object, of: call.resource.gvk)
            carryOver(&object, old)
            let strategy = strategy(call.resource)
            if call.subresource == "status" {
                keepAllButStatus(&object, old)
                strategy.prepareForStatusUpdate(&object, old: old)
            } else {
                if strategy.hasStatus, !strategy.statusWriters.contains(call.subresource) {
                    object["status"] = old["status"]
                }
                strategy.prepareForUpdate(&object, old: old, subresource: call.subresource)
            }
            try await admission.admit(&object, old: old, call, in: self)
            strategy.canonicalize(&object)
            countGeneration(&object, old, strategy)
            let problems = ObjectValidation.update(
                object, old: old, call.resource.gvk, namespaced: call.resource.namespaced,
                subresource: call.subresource.isEmpty ? nil : call.subresource)
            guard problems.isEmpty else { throw .invalid(call.resource.gvk, call.name, problems) }
            let lease = try await services.allocate(&object, old: old, call.resource, dryRun: dryRun)
            var encoded = self.encoded(object, call.resource)
            if dryRun {
                lease.giveBack()
                encoded.revision = read.revision
                return encoded
            }
            do {
                if isFinished(object, strategy) {
                    // The last thing that held a dying object back is gone.
                    if let removed = try await storage.delete(call.resource, call.key, read: read.revision) {
                        await services.release(old, call.resource)
                        encoded.revision = removed.revision
                        return encoded
                    }
                } else if encoded.hasSameContent(as: read) {
                    lease.giveBack()
                    return read
                } else if let stored = try await storage.update(call.resource, call.key, encoded, over: read.revision) {
                    lease.keep()
                    return stored
                }
            } catch {
                lease.giveBack()
                throw error
            }
            lease.giveBack()
        }
        throw .conflict(call.resource.gvr, call.name)
    }

    /// What the client says the object must be: its resourceVersion and uid, where it says so.
    private func checkPreconditions(_ object: JSONValue, _ old: JSONValue, _ call: APICall) throws(StatusError) {
        let found = old["metadata"]
        let asked = object["metadata"]
        if let version = asked?["resourceVersion"]?.string, !version.isEmpty, version != "0",
            version != found?["resourceVersion"]?.string
        {
            throw .conflict(call.resource.gvr, call.name)
        }
        if let uid = asked?["uid"]?.string, !uid.isEmpty, let real = found?["uid"]?.string, uid != real {
            throw .uidConflict(call.resource.gvr, call.name, expected: uid, found: real)
        }
    }

    /// Metadata that updates cannot change is taken from what is stored.
    private func carryOver(_ object: inout JSONValue, _ old: JSONValue) {
        var metadata = object["metadata"]?.object ?? JSONObject()
        let before = old["metadata"]
        for field in [
            "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
            "generateName", "generation",
        ] { metadata[field] = before?[field] }
        metadata["resourceVersion"] = nil
        metadata["selfLink"] = nil
        metadata["managedFields"] = nil
        object["metadata"] = .object(metadata)
    }

    /// A status update changes the status, labels, annotations and finalizers, nothing else.
    private func keepAllButStatus(_ object: inout JSONValue, _ old: JSONValue) {
        var kept = old
        kept["status"] = object["status"]
        for field in ["labels", "annotations", "finalizers"] {
            kept["metadata"]?[field] = object["metadata"]?[field]
        }
        kept["metadata"]?["resourceVersion"] = nil
        object = kept
    }

    /// Counts changes of what is wanted, as opposed to what is observed.
    private func countGeneration(_ object: inout JSONValue, _ old: JSONValue, _ strategy: any ResourceStrategy) {
        guard strategy.hasGeneration else { return }
        let before = old["metadata"]?["generation"]?.int ?? 0
        let isSame = Self.wanted(object) == Self.wanted(old)
        object["metadata"]?["generation"] = .int(isSame ? before : before + 1)
    }

    /// The object without metadata and status.
    private static func wanted(_ object: JSONValue) -> JSONObject {
        var rest = object.object ?? JSONObject()
        rest["metadata"] = nil
        rest["status"] = nil
        return rest
    }

    /// Whether a dying object has nothing left to wait for.
    func isFinished(_ object: JSONValue, _ strategy: any ResourceStrategy) -> Bool {
        guard let metadata = object["metadata"], metadata["deletionTimestamp"] != nil,
            (metadata["finalizers"]?.array ?? []).isEmpty
        else { return false }
        return (metadata["deletionGracePeriodSeconds"]?.int ?? 0) == 0 && strategy.mayVanish(object)
    }
}
