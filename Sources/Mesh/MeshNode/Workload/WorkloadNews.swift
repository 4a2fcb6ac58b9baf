/// What becomes of a pod's certificate, where it is not as it should be.
public enum WorkloadNews: Hashable, Sendable {
    /// It has none yet, and its proxy waits.
    case waits(why: String)
    /// The one that it has is over, and there is no other.
    case expired(why: String)
    /// It has one, after one of the others.
    case served
}
