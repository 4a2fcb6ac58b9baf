import JSON

/// Volumes and classes of them.
extension KindColumns {
    static let storage: [String: [TableColumn]] = [
        "/PersistentVolume": [
            .name, .text("Capacity", at: "spec", "capacity", "storage"),
            .text("Access Modes") { accessModes($0.object.list("spec", "accessModes")) },
            .text("Reclaim Policy", at: "spec", "persistentVolumeReclaimPolicy"),
            .text("Status") { source in
                source.object[path: "metadata", "deletionTimestamp"] != nil
                    ? "Terminating" : source.object.text("status", "phase")
            },
            .text("Claim") { source in
                guard let claim = source.object[path: "spec", "claimRef"] else { return "" }
                return "\(claim.text("namespace"))/\(claim.text("name"))"
            },
            .text("StorageClass", at: "spec", "storageClassName"),
            .text("VolumeAttributesClass", at: "spec", "volumeAttributesClassName", absent: "<unset>"),
            .text("Reason", at: "status", "reason"), .age,
            .text("VolumeMode", at: "spec", "volumeMode", absent: "<unset>").wide,
        ],
        "/PersistentVolumeClaim": [
            .name,
            .text("Status") { source in
                source.object[path: "metadata", "deletionTimestamp"] != nil
                    ? "Terminating" : source.object.text("status", "phase")
            },
            .text("Volume", at: "spec", "volumeName"), .text("Capacity", at: "status", "capacity", "storage"),
            .text("Access Modes") { accessModes($0.object.list("status", "accessModes")) },
            .text("StorageClass", at: "spec", "storageClassName"),
            .text("VolumeAttributesClass", at: "spec", "volumeAttributesClassName", absent: "<unset>"), .age,
            .text("VolumeMode", at: "spec", "volumeMode", absent: "<unset>").wide,
        ],
        "storage.k8s.io/StorageClass": [
            .text("Name") { source in
                let key = "storageclass.kubernetes.io/is-default-class"
                let name = source.object.text("metadata", "name")
                return source.object.text("metadata", "annotations", key) == "true" ? "\(name) (default)" : name
            },
            .text("Provisioner", at: "provisioner"), .text("ReclaimPolicy", at: "reclaimPolicy", absent: "Delete"),
            .text("VolumeBindingMode", at: "volumeBindingMode", absent: "<unset>"),
            .boolean("AllowVolumeExpansion") { $0.object["allowVolumeExpansion"] == .bool(true) }, .age,
        ],
    ]

    private static func accessModes(_ modes: [JSONValue]) -> String {
        let short = [
            "ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP",
        ]
        return modes.compactMap { short[$0.string ?? ""] }.joined(separator: ",")
    }
}
