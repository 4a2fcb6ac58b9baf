import Bytes
import ClusterAPI
import ClusterClient
import DNSMessage
import JSON

/// What DNS needs of a Service.
struct ServiceEntry: APIDecodable, Equatable {
    struct Port: Equatable {
        var name: String
        /// Lower case, as names have it.
        var transport: String
        var number: UInt16
    }

    var key: ObjectKey
    /// Empty for headless and ExternalName Services.
    var addresses: [IPAddress]
    var isHeadless: Bool
    var externalName: DNSName?
    var ports: [Port]

    init(_ service: KubeObject) {
        key = service.key
        let spec = service.spec
        let texts = spec["clusterIPs"]?.array?.compactMap(\.string) ?? [spec["clusterIP"]?.string].compactMap { $0 }
        addresses = texts.compactMap { IPAddress($0) }
        let isExternal = spec["type"]?.string == "ExternalName"
        externalName = isExternal ? spec["externalName"]?.string.flatMap { DNSName($0) } : nil
        isHeadless = !isExternal && texts.contains("None")
        ports = (spec["ports"]?.array ?? []).compactMap { Port($0) }
    }
}

extension ServiceEntry.Port {
    init?(_ json: JSONValue) {
        guard let number = json["port"]?.int.flatMap({ UInt16(exactly: $0) }) else { return nil }
        self.number = number
        name = json["name"]?.string ?? ""
        transport = (json["protocol"]?.string ?? "TCP").lowercased()
    }
}

/// What DNS needs of an EndpointSlice.
struct SliceEntry: APIDecodable, Equatable {
    struct Endpoint: Equatable {
        var addresses: [IPAddress]
        var hostname: String?
        var pod: String?
        var isReady: Bool
    }

    var key: ObjectKey
    var service: ObjectKey?
    var endpoints: [Endpoint]
    var ports: [ServiceEntry.Port]

    init(_ slice: KubeObject) {
        key = slice.key
        service = slice.label("kubernetes.io/service-name").map { ObjectKey(namespace: slice.namespace, name: $0) }
        let isAddressType = slice.json["addressType"]?.string != "FQDN"
        endpoints = (isAddressType ? slice.json["endpoints"]?.array ?? [] : []).map { json in
            Endpoint(
                addresses: (json["addresses"]?.array ?? []).compactMap { $0.string.flatMap { IPAddress($0) } },
                hostname: json["hostname"]?.string,
                pod: json["targetRef"]?["kind"]?.string == "Pod" ? json["targetRef"]?["name"]?.string : nil,
                isReady: json["conditions"]?["ready"]?.bool ?? true)
        }
        ports = (slice.json["ports"]?.array ?? []).compactMap { ServiceEntry.Port($0) }
    }
}

/// A namespace: it is there, or it is not.
struct NamespaceEntry: APIDecodable {
    init(_ object: KubeObject) {}
}
