/// Who must have let a pod in before its link is handed over: what guards packets has to stand before there are any.
///
/// Called on the pod network's loop, and may take a millisecond there.
public protocol PodGate: Sendable {
    /// What is said of the pod is in force when this returns. Throws to have the attachment taken back, and tried again.
    func admit(_ attachment: PodAttachment) throws
    /// The pod's link is gone, and its addresses may soon be another's.
    func release(_ attachment: PodAttachment)
    /// Why no pod can be let in now; nil when they can.
    var unreadiness: String? { get }
}
