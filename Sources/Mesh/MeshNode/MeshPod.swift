import JSON
import MeshIdentity

/// A pod that is in the mesh, as its node knows it.
public struct MeshPod: Hashable, Sendable {
    public var namespace: String
    public var name: String
    public var uid: String
    public var serviceAccount: String

    public init(namespace: String, name: String, uid: String, serviceAccount: String) {
        (self.namespace, self.name, self.uid, self.serviceAccount) = (namespace, name, uid, serviceAccount)
    }

    func identity(in trustDomain: String) -> SPIFFEIdentity {
        SPIFFEIdentity(trustDomain: trustDomain, namespace: namespace, serviceAccount: serviceAccount)
    }
}

/// What outlives this process of a pod's place in the mesh: who it is and where its sockets are. No key and no certificate.
struct PodRecord: Hashable, Sendable {
    var pod: MeshPod
    var folder: String

    init(pod: MeshPod, folder: String) { (self.pod, self.folder) = (pod, folder) }

    /// Nil for what is no record.
    init?(_ json: JSONValue) {
        guard let namespace = json["namespace"]?.string, let name = json["name"]?.string, let uid = json["uid"]?.string,
            let account = json["serviceAccount"]?.string, let folder = json["folder"]?.string
        else { return nil }
        self.init(
            pod: MeshPod(namespace: namespace, name: name, uid: uid, serviceAccount: account), folder: folder)
    }

    var json: JSONValue {
        [
            "namespace": .string(pod.namespace), "name": .string(pod.name), "uid": .string(pod.uid),
            "serviceAccount": .string(pod.serviceAccount), "folder": .string(folder),
        ]
    }
}
