import JSON

/// Services, what is behind them, and who may talk to it.
enum NetworkDefaults {
    /// Seconds that a client stays with its endpoint under `sessionAffinity: ClientIP`.
    private static let affinityTimeout: JSONValue = 10800

    static func service(_ service: inout JSONObject) {
        service.ensuring("spec") { spec in
            spec.setDefault("type", "ClusterIP")
            spec.setDefault("sessionAffinity", "None")
            if spec.string("sessionAffinity") == "ClientIP" {
                spec.ensuring("sessionAffinityConfig") {
                    $0.ensuring("clientIP") { $0.setDefault("timeoutSeconds", affinityTimeout) }
                }
            } else {
                spec["sessionAffinityConfig"] = nil
            }
            spec.each("ports") { port in
                port.setDefault("protocol", "TCP")
                // Zero and "" are what Go's clients send for "not set".
                let target = port["targetPort"]
                if target == nil || target == 0 || target == "", let number = port["port"] {
                    port["targetPort"] = number
                }
            }
            let type = spec.string("type")
            if type != "ExternalName" { spec.setDefault("internalTrafficPolicy", "Cluster") }
            let hasExternal = !(spec["externalIPs"]?.array ?? []).isEmpty
            if type == "NodePort" || type == "LoadBalancer" || type == "ClusterIP" && hasExternal {
                spec.setDefault("externalTrafficPolicy", "Cluster")
            }
            if type == "LoadBalancer" { spec.setDefault("allocateLoadBalancerNodePorts", true) }
        }
        service.ensuring("status") { status in
            status.ensuring("loadBalancer") {
                $0.each("ingress") { if $0["ip"] != nil { $0.setDefault("ipMode", "VIP") } }
            }
        }
    }

    static func endpoints(_ endpoints: inout JSONObject) {
        endpoints.each("subsets") { $0.each("ports") { $0.setDefault("protocol", "TCP") } }
    }

    static func endpointSlice(_ slice: inout JSONObject) {
        slice.each("ports") { port in
            port.setDefault("name", "")
            port.setDefault("protocol", "TCP")
        }
    }

    static func networkPolicy(_ policy: inout JSONObject) {
        policy.ensuring("spec") { spec in
            spec.setDefault("podSelector", [:])
            for direction in ["ingress", "egress"] {
                spec.each(direction) { $0.each("ports") { $0.setDefault("protocol", "TCP") } }
            }
            if spec["policyTypes"]?.array?.isEmpty ?? true {
                let hasEgress = !(spec["egress"]?.array ?? []).isEmpty
                spec["policyTypes"] = hasEgress ? ["Ingress", "Egress"] : ["Ingress"]
            }
        }
    }
}
