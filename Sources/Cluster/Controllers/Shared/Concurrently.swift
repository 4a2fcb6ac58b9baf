/// Requests of one reconcile that may be under way together: enough for the store to make one commit of many, few enough
/// to leave room for others.
let requestsInFlight = 32

/// Does `body` for every item, `requestsInFlight` at a time and in no order. The first failure stops the rest and is thrown.
func concurrently<Item: Sendable>(
    _ items: [Item], _ body: @escaping @Sendable (Item) async throws -> Void
) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        for (index, item) in items.enumerated() {
            if index >= requestsInFlight { try await group.next() }
            group.addTask { try await body(item) }
        }
        try await group.waitForAll()
    }
}
