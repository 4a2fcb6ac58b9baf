import JSON

/// Pods, and the pods within workloads.
enum PodDefaults {
    static func pod(_ pod: inout JSONObject) {
        pod.ensuring("spec") { spec in
            self.spec(&spec)
            spec.setDefault("enableServiceLinks", true)
            let isHostNetwork = spec["hostNetwork"]?.bool == true
            for list in ["containers", "initContainers"] {
                spec.each(list) { container in
                    requestsFromLimits(&container)
                    if isHostNetwork {
                        container.each("ports") { port in
                            if let number = port["containerPort"] { port.setDefault("hostPort", number) }
                        }
                    }
                }
            }
        }
        // The single address and the list are two views of one thing; writers set either.
        pod.within("status") { status in
            pair(&status, "podIP", "podIPs")
            pair(&status, "hostIP", "hostIPs")
        }
    }

    static func template(_ template: inout JSONObject) { template.ensuring("spec", spec) }

    /// What a pod and a pod template have in common.
    static func spec(_ spec: inout JSONObject) {
        spec.setDefault("containers", [])
        spec.setDefault("dnsPolicy", "ClusterFirst")
        spec.setDefault("restartPolicy", "Always")
        spec.setDefault("schedulerName", "default-scheduler")
        spec.setDefault("securityContext", [:])
        spec.setDefault("terminationGracePeriodSeconds", 30)
        // The old name of the field is kept equal for old clients.
        if let account = spec["serviceAccountName"] ?? spec["serviceAccount"] {
            spec["serviceAccountName"] = account
            spec["serviceAccount"] = account
        }
        for list in ["containers", "initContainers", "ephemeralContainers"] { spec.each(list, container) }
        spec.each("volumes", volume)
        spec.within("overhead", roundUp)
    }

    private static func pair(_ status: inout JSONObject, _ single: String, _ list: String) {
        if let address = status.string(single) {
            status.setDefault(list, [["ip": .string(address)]])
        } else if let first = status[list]?[0]?["ip"] {
            status[single] = first
        }
    }

    // MARK: Containers

    private static func container(_ container: inout JSONObject) {
        container.setDefault("imagePullPolicy", isLatest(container.string("image") ?? "") ? "Always" : "IfNotPresent")
        container.setDefault("terminationMessagePath", "/dev/termination-log")
        container.setDefault("terminationMessagePolicy", "File")
        // The Go type shows it always, and clients have come to look for it.
        container.setDefault("resources", [:])
        container.within("resources") { resources in
            resources.within("limits", roundUp)
            resources.within("requests", roundUp)
        }
        container.each("ports") { $0.setDefault("protocol", "TCP") }
        container.each("env") { $0.within("valueFrom") { $0.within("fieldRef") { $0.setDefault("apiVersion", "v1") } } }
        for name in ["livenessProbe", "readinessProbe", "startupProbe"] { container.within(name, probe) }
        container.within("lifecycle") { lifecycle in
            for hook in ["postStart", "preStop"] { lifecycle.within(hook) { $0.within("httpGet", httpGet) } }
        }
    }

    /// No tag and no digest, or the tag `latest`.
    static func isLatest(_ image: String) -> Bool {
        let text = image.utf8
        if text.contains(UInt8(ascii: "@")) { return false }
        // A colon before the last slash is a registry's port.
        let name = text.lastIndex(of: UInt8(ascii: "/")).map { text[text.index(after: $0)...] } ?? text[...]
        guard let colon = name.firstIndex(of: UInt8(ascii: ":")) else { return true }
        return name[name.index(after: colon)...].elementsEqual("latest".utf8)
    }

    private static func probe(_ probe: inout JSONObject) {
        probe.setDefault("timeoutSeconds", 1)
        probe.setDefault("periodSeconds", 10)
        probe.setDefault("successThreshold", 1)
        probe.setDefault("failureThreshold", 3)
        probe.within("httpGet", httpGet)
        probe.within("grpc") { $0.setDefault("service", "") }
    }

    private static func httpGet(_ action: inout JSONObject) {
        action.setDefault("path", "/")
        action.setDefault("scheme", "HTTP")
    }

    /// A limit is also the request, unless that is given.
    private static func requestsFromLimits(_ container: inout JSONObject) {
        container.within("resources") { resources in
            guard case .object(let limits)? = resources["limits"], !limits.isEmpty else { return }
            resources.ensuring("requests") { requests in
                for (name, limit) in limits { requests.setDefault(name, limit) }
            }
        }
    }

    /// Amounts finer than a thousandth are rounded up to one.
    private static func roundUp(_ amounts: inout JSONObject) {
        amounts.mapValues { _, amount in
            // Only `n` and `u` are finer.
            guard let text = amount.string, text.hasSuffix("n") || text.hasSuffix("u"), let quantity = Quantity(text)
            else { return }
            amount = quantity.roundedToMilli.json
        }
    }

    // MARK: Volumes

    private static let fileMode: JSONValue = 0o644

    private static func volume(_ volume: inout JSONObject) {
        if volume.count == 1, volume["name"] != nil { volume["emptyDir"] = [:] }
        volume.within("configMap") { $0.setDefault("defaultMode", fileMode) }
        volume.within("secret") { $0.setDefault("defaultMode", fileMode) }
        volume.within("downwardAPI", downwardAPI)
        volume.within("hostPath") { $0.setDefault("type", "") }
        volume.within("projected") { projected in
            projected.setDefault("defaultMode", fileMode)
            projected.each("sources") { source in
                source.within("serviceAccountToken") { $0.setDefault("expirationSeconds", 3600) }
                source.within("downwardAPI", fieldReferences)
            }
        }
        volume.within("ephemeral") {
            $0.within("volumeClaimTemplate") { $0.within("spec") { $0.setDefault("volumeMode", "Filesystem") } }
        }
        volume.within("iscsi") { $0.setDefault("iscsiInterface", "default") }
        volume.within("rbd") { rbd in
            rbd.setDefault("pool", "rbd")
            rbd.setDefault("user", "admin")
            rbd.setDefault("keyring", "/etc/ceph/keyring")
        }
    }

    private static func downwardAPI(_ volume: inout JSONObject) {
        volume.setDefault("defaultMode", fileMode)
        fieldReferences(&volume)
    }

    private static func fieldReferences(_ volume: inout JSONObject) {
        volume.each("items") { $0.within("fieldRef") { $0.setDefault("apiVersion", "v1") } }
    }
}
