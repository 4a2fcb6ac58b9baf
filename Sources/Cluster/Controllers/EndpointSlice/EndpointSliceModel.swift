import ClusterAPI
import JSON

/// What a Service's EndpointSlices should say, from the Service and its pods. Pure.
enum EndpointSliceModel {
    /// Endpoints of one slice at most.
    static let endpointsPerSlice = 100

    /// Endpoints that share ports: they may stand in the same slices.
    struct Group: Hashable {
        var addressType: String
        var ports: [JSONValue]
    }

    /// Every group that the Service calls for, with its endpoints in the order of their addresses. Families without
    /// endpoints have one group without endpoints, so that consumers see an empty slice instead of none.
    static func groups(
        _ service: KubeObject, pods: [KubeObject], nodes: (String) -> KubeObject?
    ) -> [Group: [JSONValue]] {
        var groups: [Group: [JSONValue]] = [:]
        let families = service.spec["ipFamilies"]?.array?.compactMap(\.string) ?? ["IPv4"]
        for family in families.isEmpty ? ["IPv4"] : families {
            var hasEndpoints = false
            for pod in pods where !pod.isTerminal {
                guard let address = address(of: pod, family: family) else { continue }
                let group = Group(addressType: family, ports: ports(service, pod))
                groups[group, default: []].append(endpoint(service, pod, address, node: nodes))
                hasEndpoints = true
            }
            if !hasEndpoints { groups[Group(addressType: family, ports: [])] = [] }
        }
        for group in groups.keys {
            groups[group]?.sort { ($0["addresses"]?[0]?.string ?? "") < ($1["addresses"]?[0]?.string ?? "") }
        }
        return groups
    }

    static func address(of pod: KubeObject, family: String) -> String? {
        let all =
            pod.status["podIPs"]?.array?.compactMap { $0["ip"]?.string }
            ?? [pod.status["podIP"]?.string].compactMap { $0 }
        return all.first { !$0.isEmpty && $0.utf8.contains(UInt8(ascii: ":")) == (family == "IPv6") }
    }

    /// The Service's ports as this pod has them: named target ports are looked up in its containers.
    static func ports(_ service: KubeObject, _ pod: KubeObject) -> [JSONValue] {
        (service.spec["ports"]?.array ?? []).compactMap { port -> JSONValue? in
            let transport = port["protocol"]?.string ?? "TCP"
            guard let number = targetPort(port, pod, transport) else { return nil }
            var result: JSONValue = [
                "name": .string(port["name"]?.string ?? ""), "port": .int(number), "protocol": .string(transport),
            ]
            if let appProtocol = port["appProtocol"] { result["appProtocol"] = appProtocol }
            return result
        }
    }

    private static func targetPort(_ port: JSONValue, _ pod: KubeObject, _ transport: String) -> Int64? {
        if let number = port["targetPort"]?.int, number > 0 { return number }
        guard let name = port["targetPort"]?.string, !name.isEmpty else { return port["port"]?.int }
        if let number = Int64(name) { return number }
        // Sidecars are init containers that stay: they may hold a named port too.
        let sidecars = (pod.spec["initContainers"]?.array ?? []).filter { $0["restartPolicy"]?.string == "Always" }
        for container in (pod.spec["containers"]?.array ?? []) + sidecars {
            for candidate in container["ports"]?.array ?? []
            where candidate["name"]?.string == name && (candidate["protocol"]?.string ?? "TCP") == transport {
                return candidate["containerPort"]?.int
            }
        }
        return nil
    }

    private static func endpoint(
        _ service: KubeObject, _ pod: KubeObject, _ address: String, node: (String) -> KubeObject?
    ) -> JSONValue {
        let serving = pod.isReadyPod
        let publishes = service.spec["publishNotReadyAddresses"]?.bool ?? false
        var endpoint: JSONValue = [
            "addresses": [.string(address)],
            "conditions": [
                "ready": .bool(publishes || (serving && !pod.isTerminating)), "serving": .bool(serving),
                "terminating": .bool(pod.isTerminating),
            ],
            "targetRef": [
                "kind": "Pod", "namespace": .string(pod.namespace), "name": .string(pod.name), "uid": .string(pod.uid),
            ],
        ]
        if let nodeName = pod.spec["nodeName"]?.string, !nodeName.isEmpty {
            endpoint["nodeName"] = .string(nodeName)
            if let zone = node(nodeName)?.label("topology.kubernetes.io/zone") { endpoint["zone"] = .string(zone) }
        }
        if let hostname = pod.spec["hostname"]?.string, !hostname.isEmpty,
            pod.spec["subdomain"]?.string == service.name
        {
            endpoint["hostname"] = .string(hostname)
        }
        return endpoint
    }

    /// Labels of a slice: the Service's own, and what tells consumers whose slice it is.
    static func labels(_ service: KubeObject) -> [String: String] {
        var labels = service.labels.filter { $0.key != "service.kubernetes.io/headless" }
        labels["kubernetes.io/service-name"] = service.name
        labels["endpointslice.kubernetes.io/managed-by"] = managedBy
        if service.spec["clusterIP"]?.string == "None" { labels["service.kubernetes.io/headless"] = "" }
        return labels
    }

    static let managedBy = "endpointslice-controller.k8s.io"
}

/// What to write so that the slices there are become the slices there should be, touching as few as possible. Pure.
struct EndpointSliceChange: Equatable {
    var create: [KubeObject] = []
    var update: [KubeObject] = []
    var delete: [KubeObject] = []

    init(
        _ service: KubeObject, wanted: [EndpointSliceModel.Group: [JSONValue]], existing: [KubeObject]
    ) {
        var byGroup: [EndpointSliceModel.Group: [KubeObject]] = [:]
        for slice in existing {
            let group = EndpointSliceModel.Group(
                addressType: slice.json["addressType"]?.string ?? "", ports: slice.json["ports"]?.array ?? [])
            byGroup[group, default: []].append(slice)
        }
        let labels = EndpointSliceModel.labels(service)
        for (group, endpoints) in wanted {
            let slices = (byGroup.removeValue(forKey: group) ?? []).sorted { $0.name < $1.name }
            place(service, group, endpoints, into: slices, labels)
        }
        delete += byGroup.values.flatMap { $0 }.sorted { $0.name < $1.name }
    }

    /// Endpoints stay in the slice that they are in; new ones fill what room there is; what becomes empty goes.
    private mutating func place(
        _ service: KubeObject, _ group: EndpointSliceModel.Group, _ endpoints: [JSONValue], into slices: [KubeObject],
        _ labels: [String: String]
    ) {
        func identity(_ endpoint: JSONValue) -> String {
            (endpoint["targetRef"]?["uid"]?.string ?? "") + " " + (endpoint["addresses"]?[0]?.string ?? "")
        }
        var left = Dictionary(endpoints.map { (identity($0), $0) }) { first, _ in first }
        var order = endpoints.map(identity)
        var contents = slices.map { slice in
            (slice.json["endpoints"]?.array ?? []).compactMap { left.removeValue(forKey: identity($0)) }
        }
        order.removeAll { left[$0] == nil }
        var fresh = order.compactMap { left[$0] }[...]
        // The fullest slices are filled first, so that few slices hold all.
        for i in contents.indices.sorted(by: { contents[$0].count > contents[$1].count }) where !fresh.isEmpty {
            let room = max(0, EndpointSliceModel.endpointsPerSlice - contents[i].count)
            contents[i] += fresh.prefix(room)
            fresh = fresh.dropFirst(room)
        }
        var kept = 0
        for (slice, content) in zip(slices, contents) {
            let isNeeded = !content.isEmpty || (endpoints.isEmpty && kept == 0)
            guard isNeeded else {
                delete.append(slice)
                continue
            }
            kept += 1
            var updated = slice
            updated.json["endpoints"] = .array(content)
            updated.labels = labels
            if updated != slice { update.append(updated) }
        }
        while !fresh.isEmpty || (kept == 0 && endpoints.isEmpty) {
            let content = Array(fresh.prefix(EndpointSliceModel.endpointsPerSlice))
            fresh = fresh.dropFirst(content.count)
            kept += 1
            var slice = KubeObject(
                apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace: service.namespace)
            slice.generateName = "\(service.name)-"
            slice.labels = labels
            slice.ownerReferences = [OwnerReference(controller: service)]
            slice.json["addressType"] = .string(group.addressType)
            slice.json["ports"] = .array(group.ports)
            slice.json["endpoints"] = .array(content)
            create.append(slice)
        }
    }
}
