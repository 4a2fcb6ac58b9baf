import Bytes
import Netlink

/// Why a pod has no network.
public enum PodNetworkError: Error, CustomStringConvertible {
    /// The node has no pod prefix yet; it comes with the Node object's `spec.podCIDR`.
    case notReady(String)
    case noNamespace(NetlinkError)
    /// Something that was just made is gone: someone else works on the same namespace.
    case vanished(String)
    case unknown(AttachmentID)
    case faulty(AttachmentID, String)
    case noUnderlay(IPAddress)

    public var description: String {
        switch self {
        case .notReady(let why): "the pod network is not ready: \(why)"
        case .noNamespace(let reason): "\(reason)"
        case .vanished(let what): "\(what) vanished while it was being set up; something else removes interfaces here"
        case .unknown(let id): "nothing is known of \(id)"
        case .faulty(let id, let fault): "\(id): \(fault)"
        case .noUnderlay(let address): "no interface has the node's address \(address)"
        }
    }
}
