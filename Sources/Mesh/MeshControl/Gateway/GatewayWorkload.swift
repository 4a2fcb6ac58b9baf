import ClusterAPI

struct GatewayWorkload: Sendable {
    let deployment: KubeObject
    let service: KubeObject
    let account: KubeObject
}
