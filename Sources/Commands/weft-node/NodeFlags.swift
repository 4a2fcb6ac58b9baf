import ArgumentParser

/// The flags. Each can stand in the config file, too, under its own name without the dashes; the command line wins.
struct NodeFlags: ParsableArguments {
    @Option(help: "YAML file with any of these settings, by flag name; or a KubeProxyConfiguration.")
    var config: String?
    @Option(help: "How to reach the API server.")
    var kubeconfig: String?
    @Option(help: "Name of the Node object. Default: this machine's host name.")
    var nodeName: String?
    @Option(help: "The node's own address. Default: the one that the API server is reached from.")
    var nodeIp: String?
    @Option(help: "What to be: kubelet, pod-network, service-proxy, policy, with commas; or all.")
    var roles: String?
    @Option(help: "Checkpoints and emptyDir volumes. Default: /var/lib/weft/node.")
    var stateDir: String?
    @Option(help: "Namespaces, mounts and sockets; lost with a restart of the machine. Default: /run/weft/node.")
    var runDir: String?
    @Option(help: "Container logs are below it in pods/ and containers/. Default: /var/log.")
    var logDir: String?
    @Option(help: "The node's pod prefix. Default: spec.podCIDR of the Node.")
    var podCidr: String?
    @Option(
        help: "All pods of the cluster, with commas; what pods send elsewhere is masqueraded. Default: 10.244.0.0/16.")
    var clusterCidr: String?
    @Option(help: "How pods of other nodes are reached: vxlan or host-gw. Default: vxlan.")
    var backend: String?
    @Option(help: "What becomes of packets that no NetworkPolicy allows: drop or reject. Default: drop.")
    var policyDenied: String?
    @Option(help: "Name servers of pods, with commas. Default: 10.96.0.10.")
    var clusterDns: String?
    @Option(help: "The cluster's DNS domain. Default: cluster.local.")
    var clusterDomain: String?
    @Option(help: "HOST:PORT of the mesh's control plane. Default: the API server's host, port 15012.")
    var meshAddress: String?
    @Option(help: "Port of the node's own server, on the node's address. Default: 10250.")
    var port: Int?
    @Option(
        help: "Plain HTTP for /healthz and /readyz. Default: 127.0.0.1:10248; of service-proxy alone 0.0.0.0:10256.")
    var healthzBindAddress: String?
    @Option(
        help:
            "Whether the kubeconfig's client certificate is renewed before it ends, and kept in the state directory. Default: true."
    )
    var rotateCertificates: Bool?
    @Option(help: "Certificate of the node's server (PEM). Default: one that it signs itself.")
    var tlsCertFile: String?
    @Option(help: "Key of that certificate (PEM).")
    var tlsPrivateKeyFile: String?
    @Option(help: "Who may sign certificates of clients (PEM). Default: the kubeconfig's authority.")
    var clientCaFile: String?
    @Option(help: "Labels of the Node at its registration: key=value, with commas.")
    var nodeLabels: String?
    @Option(help: "Root of the pods' cgroups. Default: /.")
    var cgroupRoot: String?
    @Option(help: "Folders that containers must not see, with commas, beside the node's own.")
    var hiddenPaths: String?
    @Option(help: "error, warning, info or debug. Default: info.")
    var logLevel: String?
    @OptionGroup(title: "As a kube-proxy")
    var kubeProxy: KubeProxyFlags
}
