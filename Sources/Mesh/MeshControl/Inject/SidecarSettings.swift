public import MeshAPI

/// What every injected sidecar is like unless its pod says otherwise.
public struct SidecarSettings: Sendable {
    /// The container's image.
    public var image = SidecarSettings.standardImage
    /// The program in that image, called with Envoy's flags; `envoy` where the image is Envoy's own.
    public var command = "weft-proxy"
    /// How pods that say nothing of it have their connections captured.
    public var interception = CapturePlan.Mode.redirect
    public var clusterDomain = "cluster.local"
    /// Quantities. Requests are what a proxy of a few services was measured to need at rest (docs/mesh-injection.md); limits are Istio's.
    public var cpuRequest = "10m"
    public var memoryRequest = "32Mi"
    public var cpuLimit = "2"
    public var memoryLimit = "1Gi"
    /// Worker threads. Two share a busy core's load; one a core of a large machine would cost each pod memory for nothing.
    public var concurrency = 2
    /// Seconds for which a stopping proxy lets connections finish.
    public var drainSeconds = 5
    /// Namespaces in which no pod gets a sidecar, whatever its labels say: what runs there must not depend on the mesh.
    public var spared: Set<String> = ["kube-system", "kube-public", "kube-node-lease"]

    /// The node's own file system, on whose path Weft's programs are.
    public static let standardImage = "weft.local/host"

    public init() {}
}
