import JSON

/// What holds for a container of a pod.
enum ContainerRules {
    private static let protocols = ["TCP", "UDP", "SCTP"]

    static func check(
        _ container: Field, volumes: Set<String>, names: inout Set<String>, isInit: Bool, _ findings: inout Findings
    ) {
        let name = container["name"]
        findings.require(name, Names.dns1123Label)
        if !name.isEmpty, !names.insert(name.text).inserted { findings.add(.duplicate(name.path, .string(name.text))) }
        let image = container["image"]
        if findings.require(image), image.text.first?.isWhitespace ?? false || image.text.last?.isWhitespace ?? false {
            findings.add(image.invalid("must not have leading or trailing whitespace"))
        }
        findings.oneOf(container["imagePullPolicy"], ["Always", "IfNotPresent", "Never"], required: true)
        findings.oneOf(container["terminationMessagePolicy"], ["File", "FallbackToLogsOnError"])
        checkPorts(container["ports"], &findings)
        checkEnvironment(container["env"], &findings)
        checkMounts(container["volumeMounts"], volumes: volumes, &findings)
        checkResources(container["resources"], &findings)

        let mayProbe = !isInit || container["restartPolicy"].text == "Always"
        for key in ["livenessProbe", "readinessProbe", "startupProbe"] where container[key].exists {
            if mayProbe {
                checkProbe(container[key], &findings)
            } else {
                findings.add(
                    .forbidden(container[key].path, "may not be set for init containers without restartPolicy=Always"))
            }
        }
        if container["livenessProbe"].exists, let needed = container["livenessProbe"]["successThreshold"].int,
            needed != 1
        {
            findings.add(container["livenessProbe"]["successThreshold"].invalid("must be 1"))
        }
        for hook in ["postStart", "preStop"] where container["lifecycle"][hook].exists {
            if mayProbe {
                checkHandler(container["lifecycle"][hook], ["exec", "httpGet", "tcpSocket", "sleep"], &findings)
            } else {
                findings.add(
                    .forbidden(
                        container["lifecycle"].path, "may not be set for init containers without restartPolicy=Always"))
            }
        }
    }

    private static func checkPorts(_ ports: Field, _ findings: inout Findings) {
        var names = Set<String>()
        for port in ports.elements {
            let name = port["name"]
            if !name.isEmpty {
                findings.check(name, Names.portName)
                if !names.insert(name.text).inserted { findings.add(.duplicate(name.path, .string(name.text))) }
            }
            if (port["containerPort"].int ?? 0) == 0 {
                findings.add(.required(port["containerPort"].path))
            } else {
                findings.port(port["containerPort"])
            }
            if (port["hostPort"].int ?? 0) != 0 { findings.port(port["hostPort"]) }
            findings.oneOf(port["protocol"], protocols, required: true)
        }
    }

    private static func checkEnvironment(_ environment: Field, _ findings: inout Findings) {
        for variable in environment.elements {
            findings.require(variable["name"], Names.environmentVariable)
            let source = variable["valueFrom"]
            guard source.exists else { continue }
            if source.entries.isEmpty {
                findings.add(
                    source.invalid(
                        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"))
            }
            if !variable["value"].isEmpty {
                findings.add(source.invalid("may not be specified when `value` is not empty"))
            } else if source.entries.count > 1 {
                findings.add(source.invalid("may not have more than one field specified at a time"))
            }
            for key in ["configMapKeyRef", "secretKeyRef"] where source[key].exists {
                findings.require(source[key]["key"], Names.configKey)
            }
            if source["fieldRef"].exists { findings.require(source["fieldRef"]["fieldPath"]) }
        }
    }

    private static func checkMounts(_ mounts: Field, volumes: Set<String>, _ findings: inout Findings) {
        var paths = Set<String>()
        for mount in mounts.elements {
            if findings.require(mount["name"]), !volumes.contains(mount["name"].text) {
                findings.add(.notFound(mount["name"].path, .string(mount["name"].text)))
            }
            let path = mount["mountPath"]
            if findings.require(path), !paths.insert(path.text).inserted {
                findings.add(path.invalid("must be unique"))
            }
            let inside = mount["subPath"].text
            if inside.hasPrefix("/") { findings.add(mount["subPath"].invalid("must be a relative path")) }
            if inside.split(separator: "/").contains("..") {
                findings.add(mount["subPath"].invalid("must not contain '..'"))
            }
        }
    }

    /// Requests and limits are quantities that are not negative, and no request exceeds its limit.
    private static func checkResources(_ resources: Field, _ findings: inout Findings) {
        for kind in ["limits", "requests"] {
            for (key, amount) in resources[kind].entries {
                for problem in Names.qualifiedName(key) {
                    findings.add(.invalid(resources[kind].path, .string(key), problem))
                }
                guard let wanted = Quantity(json: amount.value ?? .null) else {
                    findings.add(
                        amount.invalid(
                            "quantities must match the regular expression "
                                + "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"))
                    continue
                }
                if wanted.isNegative { findings.add(amount.invalid("must be greater than or equal to 0")) }
                guard kind == "requests", let limit = resources["limits"].value?[key], let most = Quantity(json: limit),
                    wanted > most
                else { continue }
                findings.add(amount.invalid("must be less than or equal to \(key) limit of \(limit.plainText)"))
            }
        }
    }

    private static func checkProbe(_ probe: Field, _ findings: inout Findings) {
        checkHandler(probe, ["exec", "httpGet", "tcpSocket", "grpc"], &findings)
        for key in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
            findings.nonNegative(probe[key])
        }
    }

    private static func checkHandler(_ handler: Field, _ types: [String], _ findings: inout Findings) {
        let given = types.filter { handler[$0].exists }
        if given.isEmpty { findings.add(.required(handler.path, "must specify a handler type")) }
        for extra in given.dropFirst() {
            findings.add(.forbidden(handler[extra].path, "may not specify more than 1 handler type"))
        }
        if handler["exec"].exists { findings.require(handler["exec"]["command"]) }
        if handler["httpGet"].exists {
            findings.require(handler["httpGet"]["path"])
            findings.portOrName(handler["httpGet"]["port"])
            findings.oneOf(handler["httpGet"]["scheme"], ["HTTP", "HTTPS"], required: true)
        }
        if handler["tcpSocket"].exists { findings.portOrName(handler["tcpSocket"]["port"]) }
        if handler["grpc"].exists { findings.port(handler["grpc"]["port"]) }
    }
}
