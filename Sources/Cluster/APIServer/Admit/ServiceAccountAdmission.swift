import ClusterAPI
import JSON

/// Every pod runs as a service account of its namespace, with a token of it mounted.
struct ServiceAccountAdmission: AdmissionPlugin {
    private static let mountPath = "/var/run/secrets/kubernetes.io/serviceaccount"
    /// Upstream's odd number: an hour, and a mark by which the server knows tokens that it may keep valid longer.
    private static let tokenSeconds: JSONValue = 3607

    func admit(
        _ object: inout JSONValue, old: JSONValue?, _ call: APICall, in registry: Registry
    ) async throws(StatusError) {
        guard call.resource.gvr == .pods, call.subresource.isEmpty, old == nil else { return }
        let podName = object["metadata"]?["name"]?.string ?? ""
        // A mirror of what a node runs on its own has no account.
        if object["metadata"]?["annotations"]?["kubernetes.io/config.mirror"] != nil { return }
        var name = object["spec"]?["serviceAccountName"]?.string ?? ""
        if name.isEmpty { name = object["spec"]?["serviceAccount"]?.string ?? "" }
        if name.isEmpty { name = "default" }
        object["spec"]?["serviceAccountName"] = .string(name)
        object["spec"]?["serviceAccount"] = .string(name)
        guard let accounts = registry.schema.resource(.serviceAccounts) else { return }
        let key = ObjectKey(namespace: call.namespace, name: name)
        guard let account = try await find(key, accounts, registry)?.json() else {
            throw .forbidden(
                .pods, name: podName,
                "error looking up service account \(call.namespace)/\(name): serviceaccount \"\(name)\" not found")
        }
        if let secrets = account["imagePullSecrets"], (object["spec"]?["imagePullSecrets"]?.array ?? []).isEmpty {
            object["spec"]?["imagePullSecrets"] = secrets
        }
        let mounts =
            object["spec"]?["automountServiceAccountToken"]?.bool
            ?? account["automountServiceAccountToken"]?.bool ?? true
        if mounts { mountToken(&object) }
    }

    /// A namespace's `default` account is made by a controller a moment after the namespace; pods made in that moment
    /// wait for it rather than fail.
    private func find(
        _ key: ObjectKey, _ accounts: ResourceDescription, _ registry: Registry
    ) async throws(StatusError) -> StoredObject? {
        for _ in 0..<20 {
            if let found = try await registry.storage.find(accounts, key) { return found }
            guard key.name == "default" else { return nil }
            do { try await pause(.milliseconds(50)) } catch { return nil }
        }
        return nil
    }

    private func mountToken(_ object: inout JSONValue) {
        var volumes = object["spec"]?["volumes"]?.array ?? []
        let volume: String
        if let known = volumes.compactMap({ $0["name"]?.string }).first(where: { $0.hasPrefix("kube-api-access-") }) {
            volume = known
        } else {
            volume = "kube-api-access-" + GeneratedName.suffix(5)
        }
        var isUsed = false
        for field in ["initContainers", "containers"] {
            guard var containers = object["spec"]?[field]?.array else { continue }
            for index in containers.indices {
                var mounts = containers[index]["volumeMounts"]?.array ?? []
                if mounts.contains(where: { $0["mountPath"]?.string == Self.mountPath }) { continue }
                mounts.append(["name": .string(volume), "mountPath": .string(Self.mountPath), "readOnly": true])
                containers[index]["volumeMounts"] = .array(mounts)
                isUsed = true
            }
            object["spec"]?[field] = .array(containers)
        }
        guard isUsed, !volumes.contains(where: { $0["name"]?.string == volume }) else { return }
        volumes.append([
            "name": .string(volume),
            "projected": [
                "defaultMode": 420,
                "sources": [
                    ["serviceAccountToken": ["expirationSeconds": Self.tokenSeconds, "path": "token"]],
                    ["configMap": ["name": "kube-root-ca.crt", "items": [["key": "ca.crt", "path": "ca.crt"]]]],
                    [
                        "downwardAPI": [
                            "items": [
                                [
                                    "path": "namespace",
                                    "fieldRef": ["apiVersion": "v1", "fieldPath": "metadata.namespace"],
                                ]
                            ]
                        ]
                    ],
                ],
            ],
        ])
        object["spec"]?["volumes"] = .array(volumes)
    }
}
