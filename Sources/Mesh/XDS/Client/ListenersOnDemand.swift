/// What proxies and control planes of this mesh call it that a proxy asks for listeners by name, when somebody first wants to go where
/// they lead, in place of holding those of a whole mesh.
public enum ListenersOnDemand {
    /// A client's feature: the control plane may leave out of "all" what this proxy can ask for.
    public static let feature = "weft.lds.on_demand"
    /// The key of a listener's metadata that says that it asks for other destinations' listeners, and how: `timeout` and `idle_timeout`,
    /// in seconds.
    public static let metadata = "weft.lds.on_demand"
    /// Under the same key in the metadata of one of its filter chains: the cluster in whose place the chain's TCP proxy goes to none of
    /// its own, where the control plane could not be asked, or did not answer in time.
    public static let unansweredCluster = "unanswered_cluster"
    /// Member of a node's metadata: `"false"` for a proxy that is to be told of everything.
    public static let choice = "LISTENERS_ON_DEMAND"
}
