import ClusterAPI
import Controllers
import Testing

@Suite("What no controller minds")
struct MissingControllersTests {
    @Test("each of these kinds has its sentence")
    func named() {
        #expect(MissingControllers.remark(.statefulSets)?.contains("no controller for a StatefulSet") == true)
        #expect(MissingControllers.remark(.daemonSets)?.contains("DaemonSet") == true)
        for resource in ["jobs", "cronjobs"] {
            #expect(MissingControllers.remark(GroupVersionResource(group: "batch", resource: resource)) != nil)
        }
    }

    @Test(
        "what has a controller has none", arguments: [GroupVersionResource.deployments, .replicaSets, .pods, .services])
    func silent(resource: GroupVersionResource) { #expect(MissingControllers.remark(resource) == nil) }
}
