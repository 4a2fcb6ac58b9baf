import Bytes
import JSON

/// Namespaces, nodes, storage, access and extensions.
enum ClusterDefaults {
    static func namespace(_ namespace: inout JSONObject) {
        if let name = namespace["metadata"]?["name"] {
            namespace.ensuring("metadata") { metadata in
                metadata.ensuring("labels") { $0["kubernetes.io/metadata.name"] = name }
            }
        }
        namespace.ensuring("status") { $0.setDefault("phase", "Active") }
    }

    static func node(_ node: inout JSONObject) {
        // The single range and the list are two views of one thing; writers set either.
        node.within("spec") { spec in
            if let range = spec["podCIDR"] {
                spec.setDefault("podCIDRs", [range])
            } else if let first = spec["podCIDRs"]?[0] {
                spec["podCIDR"] = first
            }
        }
        node.within("status") { status in
            if let capacity = status["capacity"] { status.setDefault("allocatable", capacity) }
        }
    }

    /// `stringData` is for writing only: it becomes `data`.
    static func secret(_ secret: inout JSONObject) {
        secret.setDefault("type", "Opaque")
        guard case .object(let texts)? = secret.removeValue(forKey: "stringData") else { return }
        secret.ensuring("data") { data in
            for (key, text) in texts {
                if let text = text.string { data[key] = .string(Base64.encode(Array(text.utf8))) }
            }
        }
    }

    static func limitRange(_ range: inout JSONObject) {
        range.within("spec") { spec in
            spec.each("limits") { limit in
                guard limit.string("type") == "Container" else { return }
                func fill(_ target: String, from source: String) {
                    guard case .object(let amounts)? = limit[source], !amounts.isEmpty else { return }
                    limit.ensuring(target) { for (name, amount) in amounts { $0.setDefault(name, amount) } }
                }
                fill("default", from: "max")
                fill("defaultRequest", from: "default")
                fill("defaultRequest", from: "min")
            }
        }
    }

    static func persistentVolume(_ volume: inout JSONObject) {
        volume.ensuring("spec") { spec in
            spec.setDefault("persistentVolumeReclaimPolicy", "Retain")
            spec.setDefault("volumeMode", "Filesystem")
            spec.within("hostPath") { $0.setDefault("type", "") }
        }
        volume.ensuring("status") { $0.setDefault("phase", "Pending") }
    }

    static func persistentVolumeClaim(_ claim: inout JSONObject) {
        claim.ensuring("spec") { $0.setDefault("volumeMode", "Filesystem") }
        claim.ensuring("status") { $0.setDefault("phase", "Pending") }
    }

    static func storageClass(_ storageClass: inout JSONObject) {
        storageClass.setDefault("reclaimPolicy", "Delete")
        storageClass.setDefault("volumeBindingMode", "Immediate")
    }

    static func csiDriver(_ driver: inout JSONObject) {
        driver.ensuring("spec") { spec in
            spec.setDefault("attachRequired", true)
            spec.setDefault("podInfoOnMount", false)
            spec.setDefault("storageCapacity", false)
            spec.setDefault("requiresRepublish", false)
            spec.setDefault("seLinuxMount", false)
            spec.setDefault("fsGroupPolicy", "ReadWriteOnceWithFSType")
            spec.setDefault("volumeLifecycleModes", ["Persistent"])
        }
    }

    private static let accessGroup: JSONValue = "rbac.authorization.k8s.io"

    static func roleBinding(_ binding: inout JSONObject) {
        binding.within("roleRef") { $0.setDefault("apiGroup", accessGroup) }
        binding.each("subjects") { subject in
            if ["User", "Group"].contains(subject.string("kind")) { subject.setDefault("apiGroup", accessGroup) }
        }
    }

    static func mutatingWebhooks(_ configuration: inout JSONObject) {
        webhooks(&configuration)
        configuration.each("webhooks") { $0.setDefault("reinvocationPolicy", "Never") }
    }

    static func webhooks(_ configuration: inout JSONObject) {
        configuration.each("webhooks") { webhook in
            webhook.setDefault("failurePolicy", "Fail")
            webhook.setDefault("matchPolicy", "Equivalent")
            webhook.setDefault("namespaceSelector", [:])
            webhook.setDefault("objectSelector", [:])
            webhook.setDefault("timeoutSeconds", 10)
            webhook.each("rules") { $0.setDefault("scope", "*") }
            webhook.within("clientConfig") { $0.within("service") { $0.setDefault("port", 443) } }
        }
    }

    static func customResourceDefinition(_ definition: inout JSONObject) {
        definition.ensuring("spec") { spec in
            spec.setDefault("versions", [])
            spec.setDefault("conversion", ["strategy": "None"])
            spec.within("conversion") { conversion in
                conversion.within("webhook") {
                    $0.within("clientConfig") { $0.within("service") { $0.setDefault("port", 443) } }
                }
            }
            spec.within("names") { names in
                guard let kind = names.string("kind") else { return }
                names.setDefault("singular", .string(kind.lowercased()))
                names.setDefault("listKind", .string(kind + "List"))
            }
        }
    }
}
