import ClusterAPI

/// The cluster's pods, by what the mesh asks of them.
struct MeshPods {
    private var pods: [ObjectKey: MeshPod] = [:]
    private var byNamespace: [String: Set<ObjectKey>] = [:]
    /// The Services whose slices name a pod, each as often as it does.
    private var behind: [ObjectKey: [ObjectKey: Int]] = [:]

    subscript(key: ObjectKey) -> MeshPod? { pods[key] }

    var keys: some Sequence<ObjectKey> { pods.keys }

    var all: [MeshPod] { Array(pods.values) }

    func of(_ namespace: String) -> [MeshPod] { (byNamespace[namespace] ?? []).compactMap { pods[$0] } }

    func services(of pod: ObjectKey) -> [ObjectKey] { behind[pod].map { Array($0.keys) } ?? [] }

    mutating func set(_ pod: MeshPod?, _ key: ObjectKey) {
        pods[key] = pod
        if pod != nil {
            byNamespace[key.namespace, default: []].insert(key)
        } else {
            byNamespace[key.namespace]?.remove(key)
        }
    }

    mutating func link(_ slice: MeshSlice) {
        for pod in slice.endpoints.compactMap(\.pod) { behind[pod, default: [:]][slice.service, default: 0] += 1 }
    }

    mutating func unlink(_ slice: MeshSlice) {
        for pod in slice.endpoints.compactMap(\.pod) {
            guard let count = behind[pod]?[slice.service] else { continue }
            behind[pod]?[slice.service] = count > 1 ? count - 1 : nil
            if behind[pod]?.isEmpty == true { behind[pod] = nil }
        }
    }
}
