/// What it is called in a bootstrap that a proxy writes down what its control plane says.
public enum StateFileName {
    /// Member of a node's metadata: the file's path. Without it nothing is written.
    public static let metadata = "STATE_FILE"
}
