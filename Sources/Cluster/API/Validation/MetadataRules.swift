import JSON

/// What holds for the metadata of every object.
enum MetadataRules {
    /// All annotations' keys and values together.
    static let annotationsLimit = 256 * 1024
    /// How much of `generateName` is kept, so that the suffix of five still fits a label.
    static let generatedBaseLimit = 58

    private static let ownFinalizers: Set<String> = ["orphan", "foregroundDeletion", "kubernetes"]

    static func check(
        _ metadata: Field, namespaced: Bool, name rule: (String) -> [String], _ findings: inout Findings
    ) {
        let generate = metadata["generateName"]
        if !generate.isEmpty {
            // What the name will look like: the base with its trailing dash followed by letters.
            let sample = generate.text.prefix(generatedBaseLimit) + "bcdfg"
            for problem in rule(String(sample)) { findings.add(generate.invalid(problem)) }
        }
        let name = metadata["name"]
        if name.isEmpty {
            if generate.isEmpty { findings.add(.required(name.path, "name or generateName is required")) }
        } else {
            for problem in rule(name.text) { findings.add(name.invalid(problem)) }
        }
        let namespace = metadata["namespace"]
        if namespaced {
            findings.require(namespace, Names.dns1123Label)
        } else if !namespace.isEmpty {
            findings.add(.forbidden(namespace.path, "not allowed on this type"))
        }
        findings.nonNegative(metadata["generation"])
        checkCommon(metadata, &findings)
    }

    static func checkUpdate(_ new: Field, _ old: Field, _ findings: inout Findings) {
        if new["resourceVersion"].isEmpty, new["resourceVersion"].exists {
            findings.add(new["resourceVersion"].invalid("must be specified for an update"))
        }
        for key in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
        where !(key == "uid" && new[key].isEmpty) {
            findings.immutable(new[key], old[key])
        }
        if old["deletionTimestamp"].exists {
            let before = Set((old["finalizers"].value?.array ?? []).compactMap(\.string))
            let added = (new["finalizers"].value?.array ?? []).compactMap(\.string).filter { !before.contains($0) }
            if !added.isEmpty {
                let list = added.map(quoted).joined(separator: ", ")
                findings.add(
                    .forbidden(
                        new["finalizers"].path,
                        "no new finalizers can be added if the object is being deleted, found new finalizers []string{\(list)}"
                    ))
            }
        }
        checkCommon(new, &findings)
    }

    static func checkLabels(_ labels: Field, _ findings: inout Findings) {
        for (key, field) in labels.entries {
            for problem in Names.qualifiedName(key) { findings.add(.invalid(labels.path, .string(key), problem)) }
            for problem in Names.labelValue(field.text) {
                findings.add(.invalid(labels.path, .string(field.text), problem))
            }
        }
    }

    static func checkAnnotations(_ annotations: Field, _ findings: inout Findings) {
        var size = 0
        for (key, field) in annotations.entries {
            for problem in Names.qualifiedName(key.lowercased()) {
                findings.add(.invalid(annotations.path, .string(key), problem))
            }
            size += key.utf8.count + field.text.utf8.count
        }
        if size > annotationsLimit { findings.add(.tooLong(annotations.path, limit: annotationsLimit)) }
    }

    private static func checkCommon(_ metadata: Field, _ findings: inout Findings) {
        checkLabels(metadata["labels"], &findings)
        checkAnnotations(metadata["annotations"], &findings)
        checkOwners(metadata["ownerReferences"], &findings)
        checkFinalizers(metadata["finalizers"], &findings)
    }

    private static func checkOwners(_ owners: Field, _ findings: inout Findings) {
        var controller: String?
        for owner in owners.elements {
            let version = owner["apiVersion"]
            if GroupVersionKind(apiVersion: version.text, kind: "x") == nil {
                findings.add(version.invalid("version must not be empty"))
            }
            for key in ["kind", "name", "uid"] where owner[key].isEmpty {
                findings.add(owner[key].invalid("must not be empty"))
            }
            if version.text == "v1", owner["kind"].text == "Event" {
                findings.add(owner.invalid("/v1, Kind=Event is disallowed from being an owner"))
            }
            guard owner["controller"].isTrue else { continue }
            let subject = "\(owner["kind"].text)/\(owner["name"].text)"
            if let controller {
                findings.add(
                    owners.invalid(
                        "Only one reference can have Controller set to true. Found \"true\" in references for \(controller) and \(subject)"
                    ))
            }
            controller = subject
        }
    }

    private static func checkFinalizers(_ finalizers: Field, _ findings: inout Findings) {
        for finalizer in finalizers.elements {
            findings.check(finalizer, Names.qualifiedName)
            if !finalizer.text.contains("/"), !ownFinalizers.contains(finalizer.text) {
                findings.add(
                    finalizer.invalid("name is neither a standard finalizer name nor is it fully qualified"))
            }
        }
        let all = Set(finalizers.elements.map(\.text))
        if all.isSuperset(of: ["orphan", "foregroundDeletion"]) {
            findings.add(finalizers.invalid("finalizer orphan and foregroundDeletion cannot be both set"))
        }
    }
}

/// What holds for every object of type LabelSelector.
enum SelectorRules {
    static func check(_ selector: Field, _ findings: inout Findings) {
        MetadataRules.checkLabels(selector["matchLabels"], &findings)
        for expression in selector["matchExpressions"].elements {
            let values = expression["values"]
            switch expression["operator"].text {
            case "In", "NotIn":
                if values.isEmpty {
                    findings.add(.required(values.path, "must be specified when `operator` is 'In' or 'NotIn'"))
                }
            case "Exists", "DoesNotExist":
                if !values.isEmpty {
                    findings.add(
                        .forbidden(values.path, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
                }
            default: findings.add(expression["operator"].invalid("not a valid selector operator"))
            }
            findings.check(expression["key"], Names.qualifiedName)
            for value in values.elements { findings.check(value, Names.labelValue) }
        }
    }
}
