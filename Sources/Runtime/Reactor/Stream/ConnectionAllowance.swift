import Synchronization

/// How many connections several listeners may hold together. Any thread.
public final class ConnectionAllowance: Sendable {
    private let held = Atomic<Int>(0)
    private let most: @Sendable () -> Int?

    /// - Parameter most: asked at each connection; nil is without end.
    public init(_ most: @escaping @Sendable () -> Int?) { self.most = most }

    /// Connections that there are.
    public var count: Int { held.load(ordering: .relaxed) }

    /// What there may be now; nil is without end.
    public var limit: Int? { most() }

    /// False, and nothing is taken, when there are as many as may be.
    func take() -> Bool {
        let taken = held.wrappingAdd(1, ordering: .relaxed).newValue
        guard let most = most(), taken > most else { return true }
        release()
        return false
    }

    func release() { held.wrappingSubtract(1, ordering: .relaxed) }
}
