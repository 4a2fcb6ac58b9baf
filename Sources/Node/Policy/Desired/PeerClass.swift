import Bytes
import ClusterAPI

/// Pods that no policy can tell apart, as peers: of one namespace, with the same labels and the same named ports. Its number is the
/// identity that packets of these pods have.
struct PeerClass: Sendable {
    struct Key: Hashable, Sendable {
        var namespace: String
        var labels: [String: String]
        var ports: [PolicyPod.NamedPort]

        /// Labels that controllers put on pods to tell one from another, and that no policy of a person's names: with them each
        /// pod would be a class of its own. A policy that does name one gets them all back.
        static let incidental: Set<String> = [
            "pod-template-hash", "controller-revision-hash", "pod-template-generation",
            "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index", "controller-uid", "job-name",
            "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name",
            "batch.kubernetes.io/job-completion-index",
        ]

        init(_ pod: PolicyPod, keepingIncidental: Bool) {
            namespace = pod.key.namespace
            labels = keepingIncidental ? pod.labels : pod.labels.filter { !Self.incidental.contains($0.key) }
            ports = pod.ports
        }

        /// The same on every node and after every start, so that what stands in the kernel stays right.
        var number: UInt32 {
            var hash = FNV1a()
            hash.combine(namespace.utf8)
            for (name, value) in labels.sorted(by: { $0.key < $1.key }) {
                for text in ["\u{1}", name, "\u{2}", value] { hash.combine(text.utf8) }
            }
            for port in ports {
                hash.combine("\u{3}\(port.transport.rawValue)/\(port.port)/\(port.name)".utf8)
            }
            return StableNumber.of(hash)
        }
    }

    let key: Key
    var members: Set<ObjectKey> = []
    /// Profiles that allow it something. Without any its pods need no element.
    var profiles: Set<UInt32> = []
}

/// Numbers made of content.
enum StableNumber {
    /// Smaller ones have a meaning of their own.
    static let first: UInt32 = 16
    /// Above are the identities of address blocks.
    static let last: UInt32 = 0x7FFF_FFFF

    static func of(_ hash: FNV1a) -> UInt32 {
        let mixed = UInt32(truncatingIfNeeded: hash.value ^ (hash.value >> 32)) & last
        return max(mixed, first)
    }

    /// The next one, where two contents come to one number.
    static func after(_ number: UInt32) -> UInt32 { number == last ? first : number + 1 }
}
