import APIServer
import ClusterAPI
import MeshAPI
import MeshControl

/// The mesh's injection in the API server's admission: the way that needs no webhook to be up.
struct SidecarAdmission: CreationAdmission {
    let injector: PodInjector

    func covers(_ resource: GroupVersionResource) -> Bool { resource == .pods }

    func admit(_ creation: ObjectCreation) throws(StatusError) -> ObjectAdmission {
        do throws(AnnotationError) {
            let outcome = try injector.inject(
                creation.object, namespace: creation.namespace, namespaceLabels: creation.namespaceLabels)
            return ObjectAdmission(object: outcome.pod, warnings: outcome.warnings)
        } catch {
            throw .badRequest("the pod's sidecar cannot be injected: \(error)")
        }
    }
}
