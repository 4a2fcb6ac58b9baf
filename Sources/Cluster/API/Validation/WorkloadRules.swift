import JSON

/// What holds for the kinds that make pods.
enum WorkloadRules {
    static func checkDeployment(_ object: Field, _ findings: inout Findings) {
        let spec = object["spec"]
        findings.nonNegative(spec["replicas"])
        checkSelector(spec, &findings)
        PodRules.checkTemplate(spec["template"], restartPolicies: ["Always"], &findings)
        let strategy = spec["strategy"]
        let rolling = strategy["rollingUpdate"]
        switch strategy["type"].text {
        case "Recreate":
            if rolling.exists {
                findings.add(
                    .forbidden(rolling.path, "may not be specified when strategy `type` is 'Recreate'"))
            }
        case "RollingUpdate":
            findings.countOrPercent(rolling["maxUnavailable"])
            findings.countOrPercent(rolling["maxSurge"])
            if isZero(rolling["maxUnavailable"]), isZero(rolling["maxSurge"]) {
                findings.add(rolling["maxUnavailable"].invalid("may not be 0 when `maxSurge` is 0"))
            }
            if percent(rolling["maxUnavailable"]) ?? 0 > 100 {
                findings.add(rolling["maxUnavailable"].invalid("must not be greater than 100%"))
            }
        default: findings.oneOf(strategy["type"], ["Recreate", "RollingUpdate"], required: true)
        }
        findings.nonNegative(spec["minReadySeconds"])
        findings.nonNegative(spec["revisionHistoryLimit"])
        findings.nonNegative(spec["progressDeadlineSeconds"])
        if let deadline = spec["progressDeadlineSeconds"].int, deadline <= spec["minReadySeconds"].int ?? 0 {
            findings.add(spec["progressDeadlineSeconds"].invalid("must be greater than minReadySeconds"))
        }
    }

    static func checkReplicaSet(_ object: Field, _ findings: inout Findings) {
        let spec = object["spec"]
        findings.nonNegative(spec["replicas"])
        findings.nonNegative(spec["minReadySeconds"])
        checkSelector(spec, &findings)
        PodRules.checkTemplate(spec["template"], restartPolicies: ["Always"], &findings)
    }

    static func checkReplicationController(_ object: Field, _ findings: inout Findings) {
        let spec = object["spec"]
        findings.nonNegative(spec["replicas"])
        findings.require(spec["selector"])
        if findings.require(spec["template"]) {
            PodRules.checkTemplate(spec["template"], restartPolicies: ["Always"], &findings)
            if !LabelSelector(matchLabels: spec["selector"].value).matches(spec["template"]["metadata"]["labels"].value)
            {
                findings.add(
                    spec["template"]["metadata"]["labels"].invalid("`selector` does not match template `labels`"))
            }
        }
    }

    static func checkStatefulSet(_ object: Field, _ findings: inout Findings) {
        let spec = object["spec"]
        findings.oneOf(spec["podManagementPolicy"], ["OrderedReady", "Parallel"], required: true)
        findings.oneOf(spec["updateStrategy"]["type"], ["OnDelete", "RollingUpdate"], required: true)
        findings.nonNegative(spec["updateStrategy"]["rollingUpdate"]["partition"])
        findings.nonNegative(spec["replicas"])
        findings.nonNegative(spec["minReadySeconds"])
        findings.nonNegative(spec["ordinals"]["start"])
        checkSelector(spec, &findings)
        PodRules.checkTemplate(spec["template"], restartPolicies: ["Always"], &findings)
    }

    static func checkDaemonSet(_ object: Field, _ findings: inout Findings) {
        let spec = object["spec"]
        checkSelector(spec, &findings)
        PodRules.checkTemplate(spec["template"], restartPolicies: ["Always"], &findings)
        findings.nonNegative(spec["minReadySeconds"])
        findings.nonNegative(spec["revisionHistoryLimit"])
        findings.oneOf(spec["updateStrategy"]["type"], ["OnDelete", "RollingUpdate"], required: true)
        if spec["updateStrategy"]["type"].text == "RollingUpdate" {
            let rolling = spec["updateStrategy"]["rollingUpdate"]
            findings.countOrPercent(rolling["maxUnavailable"])
            findings.countOrPercent(rolling["maxSurge"])
            if isZero(rolling["maxUnavailable"]), isZero(rolling["maxSurge"]) {
                findings.add(rolling["maxUnavailable"].invalid("cannot be 0 when maxSurge is 0"))
            } else if !isZero(rolling["maxUnavailable"]), !isZero(rolling["maxSurge"]), rolling["maxSurge"].exists {
                findings.add(rolling["maxSurge"].invalid("may not be set when maxUnavailable is non-zero"))
            }
        }
    }

    static func checkJob(_ object: Field, _ findings: inout Findings) {
        checkJobSpec(object["spec"], hasSelector: true, &findings)
    }

    static func checkCronJob(_ object: Field, _ findings: inout Findings) {
        let spec = object["spec"]
        if findings.require(spec["schedule"]) {
            let words = spec["schedule"].text.split(separator: " ")
            if words.count != 5, !(spec["schedule"].text.hasPrefix("@")) {
                findings.add(
                    spec["schedule"].invalid(
                        "expected exactly 5 fields, found \(words.count): \(words.map(String.init))"))
            }
        }
        findings.nonNegative(spec["startingDeadlineSeconds"])
        findings.oneOf(spec["concurrencyPolicy"], ["Allow", "Forbid", "Replace"], required: true)
        findings.nonNegative(spec["successfulJobsHistoryLimit"])
        findings.nonNegative(spec["failedJobsHistoryLimit"])
        checkJobSpec(spec["jobTemplate"]["spec"], hasSelector: false, &findings)
    }

    /// Eleven are kept for the minutes that become a job's suffix.
    static func cronJobName(_ name: String) -> [String] {
        let problems = Names.dns1123Subdomain(name)
        return name.utf8.count > 52 ? problems + ["must be no more than 52 characters"] : problems
    }

    static func selectorIsImmutable(_ new: Field, _ old: Field, _ findings: inout Findings) {
        findings.immutable(new["spec"]["selector"], old["spec"]["selector"])
    }

    static func checkStatefulSetUpdate(_ new: Field, _ old: Field, _ findings: inout Findings) {
        var allowed = new["spec"].value ?? .null
        for key in [
            "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
            "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
        ] {
            allowed[key] = old["spec"].value?[key]
        }
        guard allowed != old["spec"].value ?? .null else { return }
        findings.add(
            .forbidden(
                new["spec"].path,
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
                    + "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
            ))
    }

    static func checkJobUpdate(_ new: Field, _ old: Field, _ findings: inout Findings) {
        let (after, before) = (new["spec"], old["spec"])
        for key in ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy"] {
            findings.immutable(after[key], before[key])
        }
        // An indexed job may grow and shrink as long as it runs all indexes at once.
        let elastic =
            after["completionMode"].text == "Indexed" && after["completions"].int == after["parallelism"].int
            && before["completions"].int == before["parallelism"].int
        if !elastic { findings.immutable(after["completions"], before["completions"]) }
        var template = after["template"].value ?? .null
        let suspended = before["suspend"].isTrue && !old["status"]["startTime"].exists
        if suspended, var spec = template["spec"] {
            for key in ["nodeSelector", "affinity", "tolerations", "schedulingGates"] {
                spec[key] = before["template"]["spec"].value?[key]
            }
            template["spec"] = spec
            template["metadata"] = before["template"].value?["metadata"]
        }
        if template != before["template"].value ?? .null {
            findings.add(after["template"].invalid("field is immutable"))
        }
    }

    private static func checkJobSpec(_ spec: Field, hasSelector: Bool, _ findings: inout Findings) {
        for key in [
            "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
            "backoffLimitPerIndex", "maxFailedIndexes",
        ] {
            findings.nonNegative(spec[key])
        }
        findings.oneOf(spec["completionMode"], ["NonIndexed", "Indexed"])
        if spec["completionMode"].text == "Indexed", !spec["completions"].exists {
            findings.add(.required(spec["completions"].path, "when completion mode is Indexed"))
        }
        if hasSelector, spec["selector"].exists {
            SelectorRules.check(spec["selector"], &findings)
            if let selector = LabelSelector(spec["selector"].value),
                !selector.matches(spec["template"]["metadata"]["labels"].value)
            {
                findings.add(
                    spec["template"]["metadata"]["labels"].invalid("`selector` does not match template `labels`"))
            }
        }
        PodRules.checkTemplate(spec["template"], &findings)
        let policy = spec["template"]["spec"]["restartPolicy"]
        if policy.text == "Always" || policy.isEmpty {
            findings.add(.required(policy.path, "valid values: \"OnFailure\", \"Never\""))
        }
    }

    /// The selector is there, not empty, well formed, and chooses the template's pods.
    private static func checkSelector(_ spec: Field, _ findings: inout Findings) {
        let selector = spec["selector"]
        guard selector.exists else {
            findings.add(.required(selector.path))
            return
        }
        SelectorRules.check(selector, &findings)
        if selector["matchLabels"].isEmpty, selector["matchExpressions"].isEmpty {
            findings.add(selector.invalid("empty selector is invalid for deployment"))
            return
        }
        let labels = spec["template"]["metadata"]["labels"]
        guard let parsed = LabelSelector(selector.value) else { return }
        if !parsed.matches(labels.value) {
            findings.add(
                .invalid(labels.path, labels.value ?? .object([:]), "`selector` does not match template `labels`"))
        }
    }

    private static func isZero(_ field: Field) -> Bool {
        field.int == 0 || percent(field) == 0
    }

    private static func percent(_ field: Field) -> Int? {
        field.text.hasSuffix("%") ? Int(field.text.dropLast()) : nil
    }
}
