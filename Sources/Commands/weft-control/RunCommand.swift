import APIServer
import ArgumentParser
import Glibc
import Reactor

/// Runs the control plane.
struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run the control plane until it is told to stop (SIGTERM, SIGINT).")

    @Option(help: "A YAML file of these flags' names and values; flags win over it.")
    var config: String?

    @Option(help: "Where the store, keys and kubeconfigs are. Default /var/lib/weft/control.")
    var dataDir: String?

    @Option(help: "ADDRESS:PORT to serve on; the same as --bind-address and --secure-port.")
    var listen: String?

    @Option(help: "Address to serve on. Default 0.0.0.0.")
    var bindAddress: String?

    @Option(help: "Port to serve on. Default 6443.")
    var securePort: String?

    @Option(help: "Address under which nodes and pods reach the API server.")
    var advertiseAddress: String?

    @Option(help: "Range of Service addresses, or one of each family. Default 10.96.0.0/12.")
    var serviceClusterIpRange: String?

    @Option(help: "Range of pod addresses, or one of each family. Default 10.244.0.0/16.")
    var clusterCidr: String?

    @Option(help: "Range of node ports. Default 30000-32767.")
    var serviceNodePortRange: String?

    @Option(help: "DNS domain of the cluster. Default cluster.local.")
    var clusterDomain: String?

    @Option(help: "Prefix length of a node's pod range. Default 24.")
    var nodeCidrMaskSize: String?

    @Option(name: .customLong("node-cidr-mask-size-ipv6"), help: "The same for IPv6. Default 64.")
    var nodeCidrMaskSizeIPv6: String?

    @Option(help: "File of static bearer tokens: token,user,uid,\"group1,group2\" a line.")
    var tokenAuthFile: String?

    @Option(
        help: ArgumentHelp(
            "ADDRESS:PORT to serve proxies and gRPC clients their configuration on (xDS), in plain text and to anybody: choose one that only they reach. Default: not served."
        ))
    var xdsAddress: String?

    @Option(
        help:
            "ADDRESS:PORT to serve nodes and proxies their certificates and configuration on, over TLS; none: nowhere. Default: the serving address, port 15012."
    )
    var meshAddress: String?

    @Option(
        help:
            "Folder with a certificate authority for the mesh: ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem, as for Istio. Default: the cluster makes one."
    )
    var meshCaDir: String?

    @Option(
        help:
            "File with the passphrase of the mesh authority's keys. Default: pki/mesh-ca.passphrase in the data directory, made if missing."
    )
    var meshCaPassphraseFile: String?

    @Option(help: "How long workloads' certificates live, 10s to 2160h. Default 24h.")
    var meshCertLifetime: String?

    @Option(help: "How long certificates live that are given to nodes in the place of old ones. Default 8760h.")
    var clusterSigningDuration: String?

    @Option(
        help: "Image of the sidecars that are injected into pods. Default weft.local/host, the node's own programs.")
    var proxyImage: String?

    @Option(help: "Program in that image, called with Envoy's flags. Default weft-proxy.")
    var proxyCommand: String?

    @Option(
        help: ArgumentHelp(
            "How connections come to sidecars of pods that say nothing of it: REDIRECT, TPROXY (apps see their clients' addresses; the sidecar gets CAP_NET_ADMIN) or NONE. Default REDIRECT."
        ))
    var proxyInterceptionMode: String?

    @Option(
        help: ArgumentHelp(
            "ADDRESS:PORT to serve injection on as a mutating webhook too (POST /inject, TLS), for other API servers. Default: not served."
        ))
    var injectAddress: String?

    @Option(help: "Where to write the administrator's kubeconfig besides the data directory.")
    var kubeconfigOut: String?

    @Option(help: "Further names and addresses for the serving certificate, separated by commas.")
    var tlsSan: String?

    @Option(help: "Event loops; 0 is one a core. Default 0.")
    var threads: String?

    @Option(help: "Whether to run the controllers here. Default true.")
    var controllers: String?

    @Option(help: "Whether to run the scheduler here. Default true.")
    var scheduler: String?

    func run() throws {
        let settings = try settings()
        let status = runOnLoops(threads: settings.threads) { group in
            try await ControlPlane(settings, group: group).run()
        }
        if status != 0 { throw ExitCode(status) }
    }

    private func settings() throws -> ControlSettings {
        var settings = ControlSettings()
        if let config { try settings.read(file: config) }
        let flags: [(String, String?)] = [
            ("data-dir", dataDir), ("listen", listen), ("bind-address", bindAddress), ("secure-port", securePort),
            ("advertise-address", advertiseAddress), ("service-cluster-ip-range", serviceClusterIpRange),
            ("cluster-cidr", clusterCidr), ("service-node-port-range", serviceNodePortRange),
            ("cluster-domain", clusterDomain), ("node-cidr-mask-size", nodeCidrMaskSize),
            ("node-cidr-mask-size-ipv6", nodeCidrMaskSizeIPv6), ("token-auth-file", tokenAuthFile),
            ("xds-address", xdsAddress),
            ("mesh-address", meshAddress), ("mesh-ca-dir", meshCaDir),
            ("mesh-ca-passphrase-file", meshCaPassphraseFile),
            ("mesh-cert-lifetime", meshCertLifetime), ("cluster-signing-duration", clusterSigningDuration),
            ("kubeconfig-out", kubeconfigOut), ("tls-san", tlsSan),
            ("threads", threads), ("controllers", controllers),
            ("proxy-image", proxyImage), ("proxy-command", proxyCommand),
            ("proxy-interception-mode", proxyInterceptionMode), ("inject-address", injectAddress),
            ("scheduler", scheduler),
        ]
        for (name, value) in flags {
            guard let value else { continue }
            do {
                try settings.set(name, value)
            } catch {
                throw ValidationError("--\(error)")
            }
        }
        do { try settings.complete() } catch { throw ValidationError("\(error)") }
        return settings
    }
}
