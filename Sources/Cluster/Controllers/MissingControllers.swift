public import ClusterAPI

/// Kinds that the API server has and of which no controller here makes anything: what is to be said to whoever writes one.
public enum MissingControllers {
    private static let kinds: [GroupVersionResource: String] = [
        GroupVersionResource(group: "apps", resource: "statefulsets"): "StatefulSet",
        GroupVersionResource(group: "apps", resource: "daemonsets"): "DaemonSet",
        GroupVersionResource(group: "batch", resource: "jobs"): "Job",
        GroupVersionResource(group: "batch", resource: "cronjobs"): "CronJob",
        GroupVersionResource(group: "", resource: "replicationcontrollers"): "ReplicationController",
        GroupVersionResource(group: "autoscaling", version: "v2", resource: "horizontalpodautoscalers"):
            "HorizontalPodAutoscaler",
    ]

    /// Nil for what has its controller, or needs none.
    public static func remark(_ resource: GroupVersionResource) -> String? {
        guard let kind = kinds[resource] else { return nil }
        let what =
            kind == "HorizontalPodAutoscaler"
            ? "scales by it" : "makes its pods; a Deployment, or pods by hand, will do"
        return "this control plane has no controller for a \(kind): it is stored and shown, and nothing \(what)"
    }
}
