import MeshAPI
import MeshNode
import PodRuntime

/// The volume of a pod's sidecar: a folder with sockets that serve that pod alone.
struct MeshVolumes: VolumeDriver {
    let workloads: MeshWorkloads

    var name: String { MeshName.driver }

    func publish(_ pod: PodSpec, folder: String) async throws {
        try await workloads.start(
            MeshPod(
                namespace: pod.identity.namespace, name: pod.identity.name, uid: pod.identity.uid,
                serviceAccount: pod.serviceAccountName), folder: folder)
    }

    func unpublish(_ pod: PodIdentity) async { await workloads.stop(pod.uid) }
}
