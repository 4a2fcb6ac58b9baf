public struct NodeMetrics: Sendable {
    struct H: Sendable { func observe(_ d: Duration) {}; func add(_ n: Int) {} }
    let sandboxStart = H(), containerStart = H(), containerExits = H(), probes = H()
    public init() {}
    public func text() -> [UInt8] { [] }
}
