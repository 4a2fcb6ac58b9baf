/// Command lines as Go programs take them, in our parser's manner, so that a kube-proxy's manifest works as it is.
enum GoCommandLine {
    /// Flags that need no value: `--cleanup` is `--cleanup=true`.
    private static let switches: Set<String> = [
        "cleanup", "init-only", "remove-kube-proxy-tables", "bind-address-hard-fail", "masquerade-all",
        "conntrack-tcp-be-liberal", "profiling",
    ]

    /// kube-proxy's flags that mean nothing here, and what to do about it.
    private static func refusal(of name: String, _ value: Substring) -> String? {
        switch name {
        case "iptables-masquerade-bit": "write nftables.masqueradeBit into a --config file instead"
        case "iptables-localhost-nodeports":
            value == "false" ? nil : "node ports are never on loopback in nftables mode; leave it out"
        case "vmodule": "verbosity is one for all here; use -v"
        case "windows-service", "forward-healthcheck-vip", "enable-dsr", "root-hnsendpoint-name", "source-vip",
            "network-name":
            "it is for Windows; leave it out"
        case _ where name.hasPrefix("ipvs-"): "nftables is the only mode here; leave it out"
        default: nil
        }
    }

    /// - Throws: `NodeOptions.Invalid` for a flag of kube-proxy's that cannot be honoured.
    static func normalized(_ arguments: [String]) throws -> [String] {
        var result: [String] = []
        for argument in arguments {
            if argument.hasPrefix("-v=") {
                result.append("-" + argument)
                continue
            }
            guard argument.hasPrefix("--") else {
                result.append(argument)
                continue
            }
            let parts = argument.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = parts.first.map(String.init) ?? ""
            if let why = refusal(of: name, parts.count > 1 ? parts[1] : "") {
                throw NodeOptions.Invalid(description: "--\(name) cannot be honoured: \(why)")
            }
            if name == "iptables-localhost-nodeports" { continue }
            result.append(parts.count == 1 && switches.contains(name) ? argument + "=true" : argument)
        }
        return result
    }
}
