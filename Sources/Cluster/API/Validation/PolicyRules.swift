import JSON

/// What holds for the small kinds around workloads: leases, budgets, priorities and bindings of roles.
enum PolicyRules {
    static func checkLease(_ lease: Field, _ findings: inout Findings) {
        let spec = lease["spec"]
        findings.positive(spec["leaseDurationSeconds"])
        findings.nonNegative(spec["leaseTransitions"])
    }

    static func checkDisruptionBudget(_ budget: Field, _ findings: inout Findings) {
        let spec = budget["spec"]
        if spec["minAvailable"].exists, spec["maxUnavailable"].exists {
            findings.add(spec.invalid("minAvailable and maxUnavailable cannot be both set"))
        }
        findings.countOrPercent(spec["minAvailable"])
        findings.countOrPercent(spec["maxUnavailable"])
        SelectorRules.check(spec["selector"], &findings)
        if !spec["unhealthyPodEvictionPolicy"].isEmpty {
            findings.oneOf(spec["unhealthyPodEvictionPolicy"], ["AlwaysAllow", "IfHealthyBudget"])
        }
    }

    static func checkPriorityClassUpdate(_ new: Field, _ old: Field, _ findings: inout Findings) {
        if (new["value"].int ?? 0) != (old["value"].int ?? 0) {
            findings.add(.forbidden(new["value"].path, "may not be changed in an update."))
        }
        findings.immutable(new["preemptionPolicy"], old["preemptionPolicy"])
    }

    static func checkBinding(_ binding: Field, _ findings: inout Findings) {
        let role = binding["roleRef"]
        findings.oneOf(role["apiGroup"], ["rbac.authorization.k8s.io"])
        findings.oneOf(role["kind"], ["ClusterRole", "Role"], required: true)
        findings.require(role["name"], Names.pathSegment)
        for subject in binding["subjects"].elements {
            findings.require(subject["name"])
            switch subject["kind"].text {
            case "ServiceAccount":
                if !subject["apiGroup"].isEmpty { findings.oneOf(subject["apiGroup"], [""]) }
                findings.require(subject["namespace"])
            case "User", "Group": findings.oneOf(subject["apiGroup"], ["rbac.authorization.k8s.io"])
            default: findings.oneOf(subject["kind"], ["ServiceAccount", "User", "Group"], required: true)
            }
        }
    }

    static func checkBindingUpdate(_ new: Field, _ old: Field, _ findings: inout Findings) {
        findings.immutable(new["roleRef"], old["roleRef"], "cannot change roleRef")
    }
}

/// What holds for Events.
enum EventRules {
    static func check(_ event: Field, _ findings: inout Findings) {
        let subject = event["involvedObject"].exists ? event["involvedObject"] : event["regarding"]
        let namespace = event["metadata"]["namespace"].text
        let about = subject["namespace"].text
        // An event about something without a namespace lives in `default`.
        if about.isEmpty {
            if !["default", "kube-system", ""].contains(namespace) {
                findings.add(.invalid(subject["namespace"].path, "", "does not match event.namespace"))
            }
        } else if about != namespace {
            findings.add(subject["namespace"].invalid("does not match event.namespace"))
        }
    }
}

/// What holds for Nodes.
enum NodeRules {
    static func check(_ node: Field, _ findings: inout Findings) {
        var seen = Set<String>()
        for taint in node["spec"]["taints"].elements {
            findings.require(taint["key"], Names.qualifiedName)
            findings.check(taint["value"], Names.labelValue)
            findings.oneOf(taint["effect"], ["NoExecute", "NoSchedule", "PreferNoSchedule"], required: true)
            if !seen.insert("\(taint["key"].text):\(taint["effect"].text)").inserted {
                findings.add(.duplicate(taint.path, taint.value ?? .null))
            }
        }
        for range in node["spec"]["podCIDRs"].elements where range.isEmpty {
            findings.add(range.invalid("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"))
        }
    }

    static func checkUpdate(_ new: Field, _ old: Field, _ findings: inout Findings) {
        if !old["spec"]["podCIDRs"].isEmpty, new["spec"]["podCIDRs"].value != old["spec"]["podCIDRs"].value {
            findings.add(
                .forbidden(
                    new["spec"]["podCIDRs"].path, "node updates may not change podCIDR except from \"\" to valid"))
        }
        if !old["spec"]["providerID"].isEmpty, new["spec"]["providerID"].text != old["spec"]["providerID"].text {
            findings.add(
                .forbidden(
                    new["spec"]["providerID"].path, "node updates may not change providerID except from \"\" to valid"))
        }
    }
}
