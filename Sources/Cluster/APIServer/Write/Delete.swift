import Bytes
import ClusterAPI
import JSON
import Store

extension Registry {
    /// DELETE of one object.
    func delete(_ call: APICall) async throws(StatusError) -> APIAnswer {
        let options = try DeleteOptions(call)
        try await admission.admitDelete(call, in: self)
        return try await delete(call, options)
    }

    func delete(_ call: APICall, _ options: DeleteOptions) async throws(StatusError) -> APIAnswer {
        let strategy = strategy(call.resource)
        for _ in 0..<Self.conflictRetries {
            let read = try await storage.get(call.resource, call.key)
            let old = try value(of: read, call.resource)
            try check(options, old, call)
            var object = old
            setFinalizers(&object, options.propagation)
            let grace = strategy.gracePeriod(old, asked: options.gracePeriodSeconds)
            let isDying = old["metadata"]?["deletionTimestamp"] != nil
            if isDying, let before = old["metadata"]?["deletionGracePeriodSeconds"]?.int, grace >= before, before > 0,
                object == old
            {
                // A later delete can only shorten the time that is left.
                return APIAnswer(content: .object(read))
            }
            markDying(&object, grace: grace, strategy)
            if options.dryRun {
                var shown = encoded(object, call.resource)
                shown.revision = read.revision
                return APIAnswer(content: .object(shown))
            }
            if isFinished(object, strategy) {
                guard let removed = try await storage.delete(call.resource, call.key, read: read.revision) else {
                    continue
                }
                await services.release(old, call.resource)
                return answer(removed, call, strategy)
            }
            object["metadata"]?["resourceVersion"] = nil
            let encoded = self.encoded(object, call.resource)
            if encoded.hasSameContent(as: read) { return APIAnswer(content: .object(read)) }
            if let stored = try await storage.update(call.resource, call.key, encoded, over: read.revision) {
                return APIAnswer(content: .object(stored))
            }
            // Somebody wrote in between: look again.
        }
        throw .conflict(call.resource.gvr, call.name)
    }

    /// DELETE of a whole collection: a list with the same selectors, each object deleted by the rules above.
    func deleteCollection(_ call: APICall) async throws(StatusError) -> APIAnswer {
        var options = try DeleteOptions(call)
        options.expectedUID = nil
        options.expectedRevision = nil
        let page = try await list(call, try ListOptions(call.parameters))
        for item in page.items {
            let metadata = try item.json()["metadata"]
            var one = call
            one.verb = .delete
            one.namespace = metadata?["namespace"]?.string ?? ""
            one.name = metadata?["name"]?.string ?? ""
            do {
                try await admission.admitDelete(one, in: self)
                _ = try await delete(one, options)
            } catch {
                // Gone already: what was asked for.
                guard error.reason == .notFound else { throw error }
            }
        }
        return APIAnswer(content: .list(page))
    }

    private func answer(_ removed: StoredObject, _ call: APICall, _ strategy: any ResourceStrategy)
        -> APIAnswer
    {
        if strategy.returnsDeletedObject { return APIAnswer(content: .object(removed)) }
        let uid = (try? removed.json())?["metadata"]?["uid"]?.string ?? ""
        let details = StatusError.Details(
            name: call.name, group: call.resource.gvr.group, kind: call.resource.gvr.resource, uid: uid)
        return APIAnswer(content: .json(StatusError.success(details: details)))
    }

    private func check(_ options: DeleteOptions, _ old: JSONValue, _ call: APICall) throws(StatusError) {
        let metadata = old["metadata"]
        if let uid = options.expectedUID, uid != metadata?["uid"]?.string ?? "" {
            throw .uidConflict(
                call.resource.gvr, call.name, expected: uid, found: metadata?["uid"]?.string ?? "")
        }
        if let version = options.expectedRevision, version != metadata?["resourceVersion"]?.string ?? "" {
            throw .resourceVersionConflict(
                call.resource.gvr, call.name, expected: version, found: metadata?["resourceVersion"]?.string ?? "")
        }
    }

    /// How dependents are treated is remembered as a finalizer, which the garbage collector takes away when it is done.
    private func setFinalizers(_ object: inout JSONValue, _ propagation: DeleteOptions.Propagation?) {
        guard let propagation else { return }
        var finalizers = object["metadata"]?["finalizers"]?.array ?? []
        finalizers.removeAll { $0 == "orphan" || $0 == "foregroundDeletion" }
        switch propagation {
        case .orphan: finalizers.append("orphan")
        case .foreground: finalizers.append("foregroundDeletion")
        case .background: break
        }
        object["metadata"]?["finalizers"] = finalizers.isEmpty ? nil : .array(finalizers)
    }

    private func markDying(_ object: inout JSONValue, grace: Int64, _ strategy: any ResourceStrategy) {
        let isDying = object["metadata"]?["deletionTimestamp"] != nil
        let before = object["metadata"]?["deletionGracePeriodSeconds"]?.int ?? 0
        if !isDying || grace < before {
            object["metadata"]?["deletionTimestamp"] = .string(Timestamp.now().adding(.seconds(grace)).rfc3339)
            object["metadata"]?["deletionGracePeriodSeconds"] = .int(grace)
            if !isDying, strategy.hasGeneration {
                let generation = object["metadata"]?["generation"]?.int ?? 0
                object["metadata"]?["generation"] = .int(generation + 1)
            }
        }
        strategy.prepareForDelete(&object)
    }
}

extension DeleteOptions {
    /// From the body, if there is one, and the query.
    init(_ call: APICall) throws(StatusError) {
        var propagationText = call.parameters.text("propagationPolicy")
        var dryRunValues = call.parameters.values("dryRun")
        gracePeriodSeconds = try call.parameters.integer("gracePeriodSeconds")
        var orphans = try call.parameters.bool("orphanDependents")
        if let body = call.body?.json {
            if let kind = body["kind"]?.string, kind != "DeleteOptions" {
                throw .badRequest("the body of a delete must be DeleteOptions, not \(kind)")
            }
            gracePeriodSeconds = body["gracePeriodSeconds"]?.int ?? gracePeriodSeconds
            propagationText = body["propagationPolicy"]?.string ?? propagationText
            orphans = body["orphanDependents"]?.bool ?? orphans
            dryRunValues += body["dryRun"]?.array?.compactMap(\.string) ?? []
            expectedUID = body["preconditions"]?["uid"]?.string
            expectedRevision = body["preconditions"]?["resourceVersion"]?.string
        }
        dryRun = try WriteOptions.dryRun(dryRunValues)
        if let propagationText {
            guard let known = Propagation(rawValue: propagationText) else {
                throw StatusError(
                    code: 422, reason: .invalid,
                    message: "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: "
                        + "\"\(propagationText)\": supported values: \"Foreground\", \"Background\", \"Orphan\"")
            }
            propagation = known
        } else if let orphans {
            propagation = orphans ? .orphan : .background
        }
    }
}
