import JSON

/// The Gateway API's defaults, which upstream keeps in the schemas of its custom resources.
enum GatewayDefaults {
    private static let group: JSONValue = "gateway.networking.k8s.io"
    private static let everyPath: JSONValue = ["path": ["type": "PathPrefix", "value": "/"]]

    static func gatewayClass(_ object: inout JSONObject) {
        awaitController(&object, "Accepted")
    }

    static func gateway(_ object: inout JSONObject) {
        object.within("spec") { spec in
            spec.each("addresses") { $0.setDefault("type", "IPAddress") }
            spec.each("listeners", listener)
            spec.within("allowedListeners") { $0.ensuring("namespaces") { $0.setDefault("from", "None") } }
            spec.within("tls") { tls in
                tls.within("frontend") { frontend in
                    frontend.within("default", frontendTLS)
                    frontend.each("perPort") { $0.within("tls", frontendTLS) }
                }
            }
        }
        awaitController(&object, "Accepted", "Programmed")
    }

    static func listenerSet(_ object: inout JSONObject) {
        object.within("spec") { spec in
            spec.within("parentRef") { reference in
                reference.setDefault("group", group)
                reference.setDefault("kind", "Gateway")
            }
            spec.each("listeners", listener)
        }
        awaitController(&object, "Accepted", "Programmed")
    }

    static func httpRoute(_ object: inout JSONObject) {
        object.within("spec") { spec in
            parents(&spec)
            spec.setDefault("rules", [["matches": [everyPath]]])
            spec.each("rules") { rule in
                rule.setDefault("matches", [everyPath])
                rule.each("matches") { match in
                    match.ensuring("path") { path in
                        path.setDefault("type", "PathPrefix")
                        path.setDefault("value", "/")
                    }
                    for part in ["headers", "queryParams"] { match.each(part) { $0.setDefault("type", "Exact") } }
                }
                filters(&rule)
                rule.each("backendRefs", weightedBackend)
                sessionPersistence(&rule)
            }
        }
    }

    static func grpcRoute(_ object: inout JSONObject) {
        object.within("spec") { spec in
            parents(&spec)
            spec.each("rules") { rule in
                rule.each("matches") { match in
                    match.within("method") { $0.setDefault("type", "Exact") }
                    match.each("headers") { $0.setDefault("type", "Exact") }
                }
                filters(&rule)
                rule.each("backendRefs", weightedBackend)
                sessionPersistence(&rule)
            }
        }
    }

    /// TLS, TCP and UDP routes.
    static func streamRoute(_ object: inout JSONObject) {
        object.within("spec") { spec in
            parents(&spec)
            spec.each("rules") { $0.each("backendRefs", weightedBackend) }
        }
    }

    // MARK: Parts

    private static func listener(_ listener: inout JSONObject) {
        listener.within("tls") { $0.setDefault("mode", "Terminate") }
        listener.ensuring("allowedRoutes") { allowed in
            allowed.ensuring("namespaces") { $0.setDefault("from", "Same") }
            allowed.each("kinds") { $0.setDefault("group", group) }
        }
        listener.within("tls") { tls in
            tls.each("certificateRefs") { reference in
                reference.setDefault("group", "")
                reference.setDefault("kind", "Secret")
            }
        }
    }

    private static func frontendTLS(_ tls: inout JSONObject) {
        tls.within("validation") { $0.setDefault("mode", "AllowValidOnly") }
    }

    private static func parents(_ spec: inout JSONObject) {
        spec.each("parentRefs") { reference in
            reference.setDefault("group", group)
            reference.setDefault("kind", "Gateway")
        }
    }

    private static func backend(_ reference: inout JSONObject) {
        reference.setDefault("group", "")
        reference.setDefault("kind", "Service")
    }

    private static func weightedBackend(_ reference: inout JSONObject) {
        backend(&reference)
        reference.setDefault("weight", 1)
        filters(&reference)
    }

    private static func filters(_ owner: inout JSONObject) {
        owner.each("filters") { filter in
            filter.within("requestMirror") { mirror in
                mirror.within("backendRef", backend)
                mirror.within("fraction") { $0.setDefault("denominator", 100) }
            }
            filter.within("requestRedirect") { $0.setDefault("statusCode", 302) }
            filter.within("cors") { $0.setDefault("maxAge", 5) }
            filter.within("externalAuth") { $0.within("backendRef", backend) }
        }
    }

    private static func sessionPersistence(_ rule: inout JSONObject) {
        rule.within("sessionPersistence") { persistence in
            persistence.setDefault("type", "Cookie")
            persistence.within("cookie") { cookie in
                cookie.setDefault("lifetimeType", "Session")
                cookie.setDefault("path", "/")
            }
        }
    }

    /// What the status says until a controller has looked.
    private static func awaitController(_ object: inout JSONObject, _ conditions: String...) {
        object.ensuring("status") { status in
            status.setDefault(
                "conditions",
                .array(
                    conditions.map {
                        [
                            "type": .string($0), "status": "Unknown", "reason": "Pending",
                            "message": "Waiting for controller", "lastTransitionTime": "1970-01-01T00:00:00Z",
                        ]
                    }))
        }
    }
}
