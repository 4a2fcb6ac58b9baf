/// The content of a pod's /etc/hosts, and the names that the pod gives itself.
public enum HostsFile {
    /// A Linux host name has no more bytes.
    static let hostnameLimit = 63

    public static func hostname(of pod: PodSpec, node: String) -> String {
        if pod.hostNetwork { return node }
        var name = pod.hostname.isEmpty ? pod.identity.name : pod.hostname
        if name.utf8.count > hostnameLimit {
            name = String(name.prefix(hostnameLimit))
            while let last = name.last, last == "-" || last == "." { name.removeLast() }
        }
        return name
    }

    /// Managed file for pods with a network of their own; pods on the host's network get the host's file and their aliases.
    public static func text(
        for pod: PodSpec, podIPs: [String], clusterDomain: String, node: String, hostFile: String
    ) -> String {
        var text: String
        if pod.hostNetwork {
            text = "# Kubernetes-managed hosts file (host network).\n" + hostFile
            if !text.hasSuffix("\n") { text += "\n" }
        } else {
            text = """
                # Kubernetes-managed hosts file.
                127.0.0.1\tlocalhost
                ::1\tlocalhost ip6-localhost ip6-loopback
                fe00::\tip6-localnet
                fe00::\tip6-mcastprefix
                fe00::1\tip6-allnodes
                fe00::2\tip6-allrouters

                """
            let hostname = hostname(of: pod, node: node)
            let names =
                pod.subdomain.isEmpty
                ? hostname
                : "\(hostname).\(pod.subdomain).\(pod.identity.namespace).svc.\(clusterDomain)\t\(hostname)"
            for address in podIPs { text += "\(address)\t\(names)\n" }
        }
        if !pod.hostAliases.isEmpty {
            text += "\n# Entries added by HostAliases.\n"
            for alias in pod.hostAliases { text += "\(alias.address)\t\(alias.names.joined(separator: "\t"))\n" }
        }
        return text
    }
}
