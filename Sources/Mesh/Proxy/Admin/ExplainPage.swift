extension AdminServer {
    /// `/explain`: what happened to a request, by its `x-request-id`.
    func explain(_ request: AdminRequest) async -> AdminAnswer {
        let clock = ExplanationClock()
        if let id = request["id"], !id.isEmpty {
            var found: [Explanation] = []
            for worker in server.workers {
                found += (try? await worker.loop.perform { worker.requests.explain(id, clock) }) ?? []
            }
            guard !found.isEmpty else {
                return AdminAnswer(
                    "No request with x-request-id \(id) is known. One that has not ended yet is not; of those that have, the last "
                        + "\(server.options.explainedRequests) of each worker are kept, and a quarter as many that failed.\n",
                    status: 404)
            }
            return AdminAnswer(found.sorted { $0.began < $1.began }.map(\.text).joined(separator: "\n"))
        }
        let wantsFailed = request.hasParameter("failed")
        guard let count = request["count"].map(Int.init) ?? 20, count > 0 else {
            return AdminAnswer("usage: /explain?count=N\n", status: 400)
        }
        var found: [Explanation] = []
        for worker in server.workers {
            found +=
                (try? await worker.loop.perform { worker.requests.last(count, failed: wantsFailed, clock) }) ?? []
        }
        let lines = found.sorted { $0.began > $1.began }.prefix(count).map { $0.summary + "\n" }
        let title =
            wantsFailed
            ? "The last requests that failed: when, status, flags, details, request, x-request-id\n"
            : "The last requests that went well; /explain?failed tells the others, /explain?id=X-REQUEST-ID all of one\n"
        return AdminAnswer(title + (lines.isEmpty ? "none\n" : lines.joined()))
    }
}
