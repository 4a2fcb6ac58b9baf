/// How an endpoint is picked for a new connection. Beyond kube-proxy, which knows `random` alone.
public enum Balancing: String, Hashable, Sendable {
    case random
    /// By a hash of the client's address, over a Maglev table that is the same on all nodes: a client reaches the same
    /// endpoint wherever it comes in, and nearly all clients keep theirs when endpoints come or go.
    case maglev
    /// As `maglev`, by the client's address and port: a flow, not a client, reaches the same endpoint wherever it comes in.
    case maglevFlow = "maglev-flow"

    /// On a Service. An unknown value is `random`.
    public static let annotation = "weft.dev/load-balancing"
}
