import Bytes
import JSON

/// What holds for ConfigMaps and Secrets.
enum ConfigRules {
    /// All keys' values together.
    static let sizeLimit = 1024 * 1024
    private static let frozen = "field is immutable when `immutable` is set"

    static func checkConfigMap(_ object: Field, _ findings: inout Findings) {
        var size = 0
        for (key, field) in object["data"].entries {
            for problem in Names.configKey(key) { findings.add(.invalid(field.path, .string(key), problem)) }
            if object["binaryData"].value?[key] != nil {
                findings.add(.invalid(field.path, .string(key), "duplicate of key present in binaryData"))
            }
            size += field.text.utf8.count
        }
        for (key, field) in object["binaryData"].entries {
            for problem in Names.configKey(key) { findings.add(.invalid(field.path, .string(key), problem)) }
            size += field.text.utf8.count / 4 * 3
        }
        if size > sizeLimit { findings.add(.tooLong(FieldPath(""), limit: sizeLimit)) }
    }

    static func checkSecret(_ object: Field, _ findings: inout Findings) {
        var size = 0
        for (key, field) in object["data"].entries {
            for problem in Names.configKey(key) { findings.add(.invalid(field.path, .string(key), problem)) }
            size += field.text.utf8.count / 4 * 3
        }
        if size > sizeLimit { findings.add(.tooLong(object["data"].path, limit: sizeLimit)) }
        for key in requiredKeys[object["type"].text] ?? [] where object["data"].value?[key] == nil {
            findings.add(.required(object["data"].path.key(key)))
        }
        if object["type"].text == "kubernetes.io/service-account-token" {
            let path = object["metadata"]["annotations"].path.key("kubernetes.io/service-account.name")
            if object["metadata"]["annotations"]["kubernetes.io/service-account.name"].isEmpty {
                findings.add(.required(path))
            }
        }
    }

    static func checkConfigMapUpdate(_ new: Field, _ old: Field, _ findings: inout Findings) {
        freeze(new, old, ["data", "binaryData"], &findings)
    }

    static func checkSecretUpdate(_ new: Field, _ old: Field, _ findings: inout Findings) {
        findings.immutable(new["type"], old["type"])
        freeze(new, old, ["data"], &findings)
    }

    private static let requiredKeys: [String: [String]] = [
        "kubernetes.io/tls": ["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson": [".dockerconfigjson"],
        "kubernetes.io/dockercfg": [".dockercfg"],
        "kubernetes.io/ssh-auth": ["ssh-privatekey"],
    ]

    private static func freeze(_ new: Field, _ old: Field, _ keys: [String], _ findings: inout Findings) {
        guard old["immutable"].isTrue else { return }
        if !new["immutable"].isTrue { findings.add(.forbidden(new["immutable"].path, frozen)) }
        for key in keys where (new[key].value ?? .null) != (old[key].value ?? .null) {
            if new[key].isEmpty, old[key].isEmpty { continue }
            findings.add(.forbidden(new[key].path, frozen))
        }
    }
}
