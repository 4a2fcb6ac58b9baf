import APIServer
import ClusterAPI
import Controllers

/// Tells whoever makes an object of a kind that no controller here minds. Not for a server beside another's controllers.
struct MissingControllerAdmission: CreationAdmission {
    func covers(_ resource: GroupVersionResource) -> Bool { MissingControllers.remark(resource) != nil }

    func admit(_ creation: ObjectCreation) throws(StatusError) -> ObjectAdmission {
        ObjectAdmission(warnings: MissingControllers.remark(creation.resource).map { [$0] } ?? [])
    }
}
