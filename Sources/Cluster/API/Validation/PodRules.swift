import Bytes
import JSON

/// What holds for pods and pod templates.
enum PodRules {
    static func check(_ pod: Field, _ findings: inout Findings) {
        checkSpec(pod["spec"], &findings)
    }

    /// A template's metadata and spec.
    /// - Parameter restartPolicies: which the owner can work with.
    static func checkTemplate(
        _ template: Field, restartPolicies: [String] = ["Always", "OnFailure", "Never"], _ findings: inout Findings
    ) {
        MetadataRules.checkLabels(template["metadata"]["labels"], &findings)
        MetadataRules.checkAnnotations(template["metadata"]["annotations"], &findings)
        checkSpec(template["spec"], &findings)
        let policy = template["spec"]["restartPolicy"]
        if policy.exists, restartPolicies.count < 3, !restartPolicies.contains(policy.text) {
            findings.add(.notSupported(policy.path, policy.value ?? .null, supported: restartPolicies))
        }
        if restartPolicies == ["Always"], template["spec"]["activeDeadlineSeconds"].exists {
            findings.add(
                .forbidden(
                    template["spec"]["activeDeadlineSeconds"].path,
                    "activeDeadlineSeconds in this type is not Supported"))
        }
    }

    static func checkUpdate(_ new: Field, _ old: Field, _ findings: inout Findings) {
        let (newSpec, oldSpec) = (new["spec"], old["spec"])
        let counts = [newSpec, oldSpec].map { ($0["containers"].elements.count, $0["initContainers"].elements.count) }
        if counts[0] != counts[1] {
            findings.add(.forbidden(newSpec["containers"].path, "pod updates may not add or remove containers"))
            return
        }
        checkDeadline(newSpec["activeDeadlineSeconds"], oldSpec["activeDeadlineSeconds"], &findings)
        checkTolerations(newSpec["tolerations"], oldSpec["tolerations"], &findings)
        checkGates(newSpec["schedulingGates"], oldSpec["schedulingGates"], &findings)
        // Undo everything that may change; whatever differs then may not.
        let gated = !oldSpec["schedulingGates"].isEmpty
        guard mutableParts(of: newSpec.value, restoredFrom: oldSpec.value, gated: gated) != oldSpec.value else {
            return
        }
        findings.add(
            .forbidden(
                newSpec.path,
                "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
                    + "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
                    + "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"))
    }

    /// `spec` with each part that an update may change put back as it was.
    private static func mutableParts(of spec: JSONValue?, restoredFrom old: JSONValue?, gated: Bool) -> JSONValue? {
        guard var result = spec, let old else { return spec }
        for list in ["containers", "initContainers"] {
            guard var containers = result[list]?.array, let before = old[list]?.array, containers.count == before.count
            else { continue }
            for index in containers.indices { containers[index]["image"] = before[index]["image"] }
            result[list] = .array(containers)
        }
        for key in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] { result[key] = old[key] }
        if gated {
            result["nodeSelector"] = old["nodeSelector"]
            result["affinity"] = old["affinity"]
        }
        if old.number("terminationGracePeriodSeconds") < 0, result["terminationGracePeriodSeconds"] == .int(1) {
            result["terminationGracePeriodSeconds"] = old["terminationGracePeriodSeconds"]
        }
        return result
    }

    private static func checkDeadline(_ new: Field, _ old: Field, _ findings: inout Findings) {
        guard let after = new.int else {
            if old.exists {
                findings.add(.invalid(new.path, .null, "must not update from a positive integer to nil value"))
            }
            return
        }
        if after < 0 || after > Int64(Int32.max) {
            findings.add(new.invalid("must be between 0 and 2147483647, inclusive"))
        } else if let before = old.int, after > before {
            findings.add(new.invalid("must be less than or equal to previous value"))
        }
    }

    private static func checkTolerations(_ new: Field, _ old: Field, _ findings: inout Findings) {
        let after = new.value?.array ?? []
        let kept = (old.value?.array ?? []).allSatisfy { before in
            after.contains { candidate in
                // Only how long a toleration holds may change.
                var (left, right) = (candidate, before)
                left["tolerationSeconds"] = nil
                right["tolerationSeconds"] = nil
                return left == right
            }
        }
        if !kept {
            findings.add(.forbidden(new.path, "existing toleration can not be modified except its tolerationSeconds"))
        }
    }

    private static func checkGates(_ new: Field, _ old: Field, _ findings: inout Findings) {
        let before = Set((old.value?.array ?? []).map { $0.text("name") })
        for gate in new.elements where !before.contains(gate["name"].text) {
            findings.add(
                .forbidden(
                    gate.path, "only deletion is allowed, but found new scheduling gate '\(gate["name"].text)'"))
        }
    }

    private static func checkSpec(_ spec: Field, _ findings: inout Findings) {
        let volumes = checkVolumes(spec["volumes"], &findings)
        findings.require(spec["containers"])
        var names = Set<String>()
        for container in spec["initContainers"].elements {
            ContainerRules.check(container, volumes: volumes, names: &names, isInit: true, &findings)
        }
        for container in spec["containers"].elements {
            ContainerRules.check(container, volumes: volumes, names: &names, isInit: false, &findings)
        }
        findings.oneOf(spec["restartPolicy"], ["Always", "OnFailure", "Never"], required: true)
        findings.oneOf(
            spec["dnsPolicy"], ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"], required: true)
        findings.positive(spec["activeDeadlineSeconds"])
        findings.nonNegative(spec["terminationGracePeriodSeconds"])
        for (key, rule) in [("hostname", Names.dns1123Label), ("subdomain", Names.dns1123Label)]
        where !spec[key].isEmpty {
            findings.check(spec[key], rule)
        }
        for key in ["nodeName", "serviceAccountName"] where !spec[key].isEmpty {
            findings.check(spec[key], Names.dns1123Subdomain)
        }
        MetadataRules.checkLabels(spec["nodeSelector"], &findings)
        for toleration in spec["tolerations"].elements { checkToleration(toleration, &findings) }
        if spec["dnsPolicy"].text == "None", spec["dnsConfig"]["nameservers"].isEmpty {
            findings.add(
                .required(
                    spec["dnsConfig"]["nameservers"].path,
                    "must provide at least one DNS nameserver when `dnsPolicy` is None"))
        }
        for address in spec["dnsConfig"]["nameservers"].elements where IPAddress(address.text) == nil {
            findings.add(address.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"))
        }
        checkHostPorts(spec, &findings)
    }

    private static func checkVolumes(_ volumes: Field, _ findings: inout Findings) -> Set<String> {
        var names = Set<String>()
        for volume in volumes.elements {
            let name = volume["name"]
            findings.require(name, Names.dns1123Label)
            if !name.isEmpty, !names.insert(name.text).inserted {
                findings.add(.duplicate(name.path, .string(name.text)))
            }
            let sources = (volume.value?.object ?? [:]).map(\.key).filter { $0 != "name" }
            if sources.isEmpty { findings.add(.required(volume.path, "must specify a volume type")) }
            for source in sources.dropFirst() {
                findings.add(.forbidden(volume[source].path, "may not specify more than 1 volume type"))
            }
            if volume["configMap"].exists { findings.require(volume["configMap"]["name"]) }
            if volume["secret"].exists { findings.require(volume["secret"]["secretName"]) }
            if volume["hostPath"].exists { findings.require(volume["hostPath"]["path"]) }
            if volume["persistentVolumeClaim"].exists { findings.require(volume["persistentVolumeClaim"]["claimName"]) }
            if volume["csi"].exists {
                findings.require(volume["csi"]["driver"], Names.csiDriver)
                if volume["csi"]["nodePublishSecretRef"].exists {
                    findings.require(volume["csi"]["nodePublishSecretRef"]["name"])
                }
            }
        }
        return names
    }

    /// Two containers may not want the same port of the host.
    private static func checkHostPorts(_ spec: Field, _ findings: inout Findings) {
        var taken = Set<String>()
        for port in spec["containers"].elements.flatMap({ $0["ports"].elements }) {
            guard let host = port["hostPort"].int, host != 0 else { continue }
            let key = "\(port["protocol"].text)/\(port["hostIP"].text)/\(host)"
            if !taken.insert(key).inserted { findings.add(.duplicate(port["hostPort"].path, .string(key))) }
            if spec["hostNetwork"].isTrue, host != port["containerPort"].int {
                findings.add(port["containerPort"].invalid("must match `hostPort` when `hostNetwork` is true"))
            }
        }
    }

    private static func checkToleration(_ toleration: Field, _ findings: inout Findings) {
        let (key, operation) = (toleration["key"], toleration["operator"])
        if !key.isEmpty { findings.check(key, Names.qualifiedName) }
        if key.isEmpty, operation.text != "Exists" {
            findings.add(
                operation.invalid(
                    "operator must be Exists when `key` is empty, which means \"match all values and all keys\""))
        }
        if toleration["tolerationSeconds"].exists, toleration["effect"].text != "NoExecute" {
            findings.add(toleration["effect"].invalid("effect must be 'NoExecute' when `tolerationSeconds` is set"))
        }
        switch operation.text {
        case "", "Equal": findings.check(toleration["value"], Names.labelValue)
        case "Exists":
            if !toleration["value"].isEmpty {
                findings.add(operation.invalid("value must be empty when `operator` is 'Exists'"))
            }
        default: findings.oneOf(operation, ["Equal", "Exists"])
        }
        if !toleration["effect"].isEmpty {
            findings.oneOf(toleration["effect"], ["NoSchedule", "PreferNoSchedule", "NoExecute"])
        }
    }
}
