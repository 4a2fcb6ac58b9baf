import ClusterAPI
import JSON
import Reactor
import Store

extension Registry {
    /// Longest wait for a revision that the client has seen elsewhere and this server has not.
    static let freshnessPatience = Duration.seconds(3)

    /// GET of one object.
    func get(_ call: APICall) async throws(StatusError) -> APIAnswer {
        if let text = call.parameters.text("resourceVersion") {
            try await waitUntilFresh(try ListOptions.revision(text))
        }
        return APIAnswer(content: .object(try await storage.get(call.resource, call.key)))
    }

    /// GET of a collection.
    func list(_ call: APICall, _ options: ListOptions) async throws(StatusError) -> ObjectList {
        let selection = try Selection(options, call.resource, name: call.name)
        let (shown, start) = try await plan(options, call.resource)
        var list = ObjectList(resource: call.resource, items: [], revision: 0)
        var after = start
        var at = shown
        while true {
            // With selectors a page of the list takes several of the store; each is bounded, so that the store is not held.
            let wanted = options.limit.map { selection.isTrivial ? $0 - list.items.count : max($0, 500) }
            let page = try await page(call, after: after, limit: wanted, at: at, options)
            at = page.revision
            list.revision = page.revision.rawValue
            var taken = 0
            for value in page.values {
                taken += 1
                let object = StoredObject(value)
                guard try selection.matches(object) else { continue }
                list.items.append(object)
                if let limit = options.limit, list.items.count >= limit { break }
            }
            let rest = page.remaining + page.values.count - taken
            if rest == 0 { return list }
            after = page.values[taken - 1].key
            if let limit = options.limit, list.items.count >= limit {
                let prefix = call.resource.storagePrefix
                list.continueToken =
                    ContinueToken(
                        revision: page.revision,
                        after: String(page.values[taken - 1].key.utf8.dropFirst(prefix.utf8.count)) ?? ""
                    ).text
                if selection.isTrivial { list.remaining = rest }
                return list
            }
        }
    }

    private func page(
        _ call: APICall, after: String?, limit: Int?, at revision: Revision?, _ options: ListOptions
    ) async throws(StatusError) -> StoredRange {
        let prefix = call.resource.storagePrefix(in: call.namespace)
        do {
            return try await storage.store.range(prefix: prefix, after: after, limit: limit, at: revision)
        } catch .compacted {
            var error = StatusError.expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list."
            )
            if let token = options.continueToken {
                error.continueToken = ContinueToken(revision: nil, after: token.after).text
            } else {
                error.message = "The resourceVersion for the provided list is too old."
            }
            throw error
        } catch {
            throw ObjectStorage.status(error, call.resource, "")
        }
    }

    /// At which revision a list is shown (nil: now), and after which key it starts.
    private func plan(
        _ options: ListOptions, _ resource: ResourceDescription
    ) async throws(StatusError) -> (revision: Revision?, start: String?) {
        if let token = options.continueToken { return (token.revision, resource.storagePrefix + token.after) }
        guard let revision = options.revision, revision != .zero else { return (nil, nil) }
        try await waitUntilFresh(revision)
        // A limit with a revision but no word on matching has always meant exactly that revision.
        let exact = options.match == .exact || (options.match == nil && options.limit != nil)
        return (exact ? revision : nil, nil)
    }

    /// Waits a little for a revision that lies ahead.
    func waitUntilFresh(_ revision: Revision) async throws(StatusError) {
        guard revision > storage.currentRevision else { return }
        let deadline = ContinuousClock.now + Self.freshnessPatience
        while revision > storage.currentRevision {
            guard ContinuousClock.now < deadline else {
                throw .resourceVersionTooLarge(revision.rawValue, current: storage.currentRevision.rawValue)
            }
            do { try await pause(.milliseconds(50)) } catch { throw .timeout("the request was cancelled") }
        }
    }
}

/// Sleeps on the loop that runs the task, or wherever else the task runs.
func pause(_ duration: Duration) async throws {
    if let loop = EventLoop.current { try await loop.sleep(for: duration) } else { try await Task.sleep(for: duration) }
}
