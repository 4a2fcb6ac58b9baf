import ClusterAPI

/// The environment variables by which containers find the services of their namespace.
public enum ServiceVariables {
    public struct Port: Sendable, Equatable {
        public var name: String
        public var port: Int64
        /// TCP, UDP or SCTP.
        public var transport: String
    }

    public struct Service: Sendable, Equatable {
        public var key: ObjectKey
        public var clusterIP: String
        public var ports: [Port]

        public init(key: ObjectKey, clusterIP: String, ports: [Port]) {
            self.key = key
            self.clusterIP = clusterIP
            self.ports = ports
        }
    }

    /// Variables for a pod in `namespace`: of all its services when it wants links, and of `default/kubernetes` in any case.
    public static func build(
        _ services: [Service], namespace: String, enableServiceLinks: Bool
    ) -> [(name: String, value: String)] {
        let master = ObjectKey(namespace: "default", name: "kubernetes")
        var chosen: [String: Service] = [:]
        for service in services
        where !service.clusterIP.isEmpty && service.clusterIP != "None" && !service.ports.isEmpty {
            if service.key == master, chosen["kubernetes"] == nil { chosen["kubernetes"] = service }
            if enableServiceLinks, service.key.namespace == namespace { chosen[service.key.name] = service }
        }
        return chosen.sorted { $0.key < $1.key }.flatMap { variables(of: $0.value) }
    }

    private static func variables(of service: Service) -> [(name: String, value: String)] {
        let prefix = upper(service.key.name)
        let host = service.clusterIP
        let urlHost = host.contains(":") ? "[\(host)]" : host
        var result = [(name: "\(prefix)_SERVICE_HOST", value: host)]
        if let first = service.ports.first { result.append(("\(prefix)_SERVICE_PORT", String(first.port))) }
        for port in service.ports where !port.name.isEmpty {
            result.append(("\(prefix)_SERVICE_PORT_\(upper(port.name))", String(port.port)))
        }
        // What Docker's links set, kept by Kubernetes ever since.
        for (index, port) in service.ports.enumerated() {
            let transport = port.transport.isEmpty ? "TCP" : port.transport
            let url = "\(transport.lowercased())://\(urlHost):\(port.port)"
            if index == 0 { result.append(("\(prefix)_PORT", url)) }
            let stem = "\(prefix)_PORT_\(port.port)_\(transport)"
            result.append((stem, url))
            result.append(("\(stem)_PROTO", transport.lowercased()))
            result.append(("\(stem)_PORT", String(port.port)))
            result.append(("\(stem)_ADDR", host))
        }
        return result
    }

    private static func upper(_ name: String) -> String {
        String(name.map { $0 == "-" ? "_" : $0 }).uppercased()
    }
}
