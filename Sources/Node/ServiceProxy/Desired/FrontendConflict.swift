import ClusterAPI

/// Two Services claim one address, protocol and port; only one can have it.
struct FrontendConflict: Hashable, Sendable {
    var frontend: Frontend
    var owner: ObjectKey
    var loser: ObjectKey
}
