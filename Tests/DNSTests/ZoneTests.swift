import Bytes
import ClusterAPI
import DNSMessage
import JSON
import Testing

@testable import ClusterDNS

@Suite struct ZoneTests {
    static func zone(_ change: (inout ZoneBuilder) -> Void, options: (inout ClusterZoneOptions) -> Void = { _ in })
        -> ClusterZone
    {
        var all = ClusterZoneOptions(zones: ["cluster.local", "in-addr.arpa", "ip6.arpa"].compactMap { DNSName($0) })
        all.ttl = 30
        all.pods = .insecure
        options(&all)
        var builder = ZoneBuilder(all)
        builder.setNamespace("shop", exists: true)
        change(&builder)
        builder.markComplete()
        _ = builder.build(now: Timestamp(seconds: 1_700_000_000))
        return builder.zone
    }

    static func service(_ name: String, _ spec: JSONValue) -> ServiceEntry {
        var object = KubeObject(apiVersion: "v1", kind: "Service", namespace: "shop", name: name)
        object.spec = spec
        return ServiceEntry(object)
    }

    static func slice(_ name: String, of service: String, _ endpoints: [JSONValue], ports: [JSONValue] = [])
        -> SliceEntry
    {
        var object = KubeObject(apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace: "shop", name: name)
        object.labels = ["kubernetes.io/service-name": service]
        object.json["addressType"] = "IPv4"
        object.json["endpoints"] = .array(endpoints)
        object.json["ports"] = .array(ports)
        return SliceEntry(object)
    }

    static func endpoint(_ address: String, ready: Bool = true, hostname: String? = nil) -> JSONValue {
        var value: JSONValue = ["addresses": [.string(address)], "conditions": ["ready": .bool(ready)]]
        if let hostname { value["hostname"] = .string(hostname) }
        return value
    }

    static let cart = service(
        "cart",
        ["clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1", "fd00::1"], "ports": [["name": "http", "port": 80]]])
    static let headless = service(
        "db", ["clusterIP": "None", "clusterIPs": ["None"], "ports": [["name": "sql", "port": 5432]]])
    static let external = service("out", ["type": "ExternalName", "externalName": "example.org"])
    static let inside = service("alias", ["type": "ExternalName", "externalName": "cart.shop.svc.cluster.local"])

    static let shop = zone { builder in
        for service in [cart, headless, external, inside] { builder.set(service) }
        builder.set(slice("cart-1", of: "cart", [endpoint("10.244.0.5")]))
        builder.set(
            slice(
                "db-1", of: "db",
                [
                    endpoint("10.244.0.7", hostname: "db-0"), endpoint("10.244.1.8"),
                    endpoint("10.244.1.9", ready: false),
                ],
                ports: [["name": "sql", "port": 5432, "protocol": "TCP"]]))
    }

    struct Reply { var code: ResponseCode, answers: [String], authorities: Int, chased: String? }

    func ask(_ zone: ClusterZone, _ name: String, _ type: RecordType) throws -> Reply? {
        let question = ForwardedQuestion(try #require(DNSName(name)), type)
        return question.message.withUnsafeBytes { message -> Reply? in
            let content: DNSAnswerWriter.Content
            var chased: String?
            switch zone.answer(question.query, message, rotation: 0) {
            case .notOurs: return nil
            case .content(let given): content = given
            case .chase(let given, let target): (content, chased) = (given, target.description)
            }
            var writer = DNSAnswerWriter()
            writer.write(question.query, message, content, limit: 4096)
            return writer.bytes.withUnsafeBytes { answer -> Reply? in
                guard let response = DNSResponse(answer) else { return nil }
                var cursor = ByteCursor(answer)
                _ = cursor.seek(to: question.query.questionEnd)
                var texts: [String] = []
                for _ in 0..<response.answerCount {
                    guard let record = RecordHeader(&cursor) else { return nil }
                    let data = answer[record.data]
                    switch record.type {
                    case .a, .aaaa:
                        texts.append(IPAddress(bytes: UnsafeRawBufferPointer(rebasing: data))?.description ?? "?")
                    case .cname, .ptr, .ns: texts.append(DNSName(wire: data)?.description ?? "?")
                    case .srv:
                        texts.append(
                            "\(UInt16(data[data.startIndex + 4]) << 8 | UInt16(data[data.startIndex + 5])) \(DNSName(wire: data.dropFirst(6))?.description ?? "?")"
                        )
                    default: texts.append("\(record.type)")
                    }
                }
                return Reply(
                    code: response.code, answers: texts.sorted(), authorities: content.authorities.count, chased: chased
                )
            }
        }
    }

    @Test(
        "every name of the specification has its answer",
        arguments: [
            ("cart.shop.svc.cluster.local", RecordType.a, ["10.96.1.1"]),
            ("CART.Shop.svc.Cluster.LOCAL", .a, ["10.96.1.1"]),
            ("cart.shop.svc.cluster.local", .aaaa, ["fd00::1"]),
            ("_http._tcp.cart.shop.svc.cluster.local", .srv, ["80 cart.shop.svc.cluster.local."]),
            ("cart.shop.svc.cluster.local", .srv, ["80 cart.shop.svc.cluster.local."]),
            ("1.1.96.10.in-addr.arpa", .ptr, ["cart.shop.svc.cluster.local."]),
            ("10-244-0-5.cart.shop.svc.cluster.local", .a, ["10.244.0.5"]),
            ("db.shop.svc.cluster.local", .a, ["10.244.0.7", "10.244.1.8"]),
            ("db-0.db.shop.svc.cluster.local", .a, ["10.244.0.7"]),
            ("10-244-1-8.db.shop.svc.cluster.local", .a, ["10.244.1.8"]),
            (
                "_sql._tcp.db.shop.svc.cluster.local", .srv,
                ["5432 10-244-1-8.db.shop.svc.cluster.local.", "5432 db-0.db.shop.svc.cluster.local."]
            ),
            ("7.0.244.10.in-addr.arpa", .ptr, ["db-0.db.shop.svc.cluster.local."]),
            ("out.shop.svc.cluster.local", .cname, ["example.org."]),
            ("10-1-2-3.shop.pod.cluster.local", .a, ["10.1.2.3"]),
            ("dns-version.cluster.local", .txt, ["TXT"]),
            ("cluster.local", .ns, ["ns.dns.cluster.local."]),
            ("cluster.local", .soa, ["SOA"]),
        ])
    func answers(name: String, type: RecordType, answers: [String]) throws {
        let reply = try #require(try ask(Self.shop, name, type))
        #expect(reply.code == .noError)
        #expect(reply.answers == answers)
    }

    @Test(
        "what is not there is NXDOMAIN, and what has no such record NODATA, both with the zone's SOA",
        arguments: [
            ("nope.shop.svc.cluster.local", RecordType.a, ResponseCode.nameError),
            ("cart.nope.svc.cluster.local", .a, .nameError),
            ("_grpc._tcp.cart.shop.svc.cluster.local", .srv, .nameError), ("a.b.c.d.cluster.local", .a, .nameError),
            ("10-244-1-9.db.shop.svc.cluster.local", .a, .nameError),
            ("10-1-2-3.nope.pod.cluster.local", .a, .nameError),
            ("x.out.shop.svc.cluster.local", .a, .nameError),
            ("cart.shop.svc.cluster.local", .mx, .noError), ("shop.svc.cluster.local", .a, .noError),
            ("svc.cluster.local", .a, .noError),
            ("cluster.local", .a, .noError), ("10-1-2-3.shop.pod.cluster.local", .aaaa, .noError),
            ("db.shop.svc.cluster.local", .aaaa, .noError),
        ])
    func negatives(name: String, type: RecordType, code: ResponseCode) throws {
        let reply = try #require(try ask(Self.shop, name, type))
        #expect(reply.code == code)
        #expect(reply.answers.isEmpty && reply.authorities == 1)
    }

    @Test("an alias out of the cluster is to be followed, one inside is followed at once") func aliases() throws {
        let out = try #require(try ask(Self.shop, "out.shop.svc.cluster.local", .a))
        #expect(out.chased == "example.org." && out.answers == ["example.org."])
        let inside = try #require(try ask(Self.shop, "alias.shop.svc.cluster.local", .a))
        #expect(inside.chased == nil && inside.answers == ["10.96.1.1", "cart.shop.svc.cluster.local."])
    }

    @Test("names of other zones are not ours, and unknown reverse names fall through only when told so")
    func elsewhere() throws {
        #expect(try ask(Self.shop, "example.org", .a) == nil)
        #expect(try ask(Self.shop, "9.9.9.9.in-addr.arpa", .ptr)?.code == .nameError)
        let open = Self.zone({ _ in }) { $0.fallthroughZones = [DNSName("in-addr.arpa")].compactMap { $0 } }
        #expect(try ask(open, "9.9.9.9.in-addr.arpa", .ptr) == nil)
    }

    @Test("before everything was read an unknown name is a failure, not an absence") func incomplete() throws {
        var builder = ZoneBuilder(ClusterZoneOptions(zones: [DNSName("cluster.local")].compactMap { $0 }))
        _ = builder.build(now: Timestamp(seconds: 1))
        #expect(try ask(builder.zone, "cart.shop.svc.cluster.local", .a)?.code == .serverFailure)
    }

    @Test("a random history ends in the same zone as building it at once")
    func history() throws {
        var random = SplitMix64(seed: 7)
        var options = ClusterZoneOptions(zones: ["cluster.local", "in-addr.arpa"].compactMap { DNSName($0) })
        options.ttl = 30
        var builder = ZoneBuilder(options)
        var services: [String: ServiceEntry] = [:]
        var slices: [String: SliceEntry] = [:]
        for step in 0..<400 {
            let name = "s\(Int.random(in: 0..<8, using: &random))"
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                let isHeadless = Bool.random(using: &random)
                let ip = isHeadless ? "None" : "10.96.0.\(Int.random(in: 1..<20, using: &random))"
                services[name] = Self.service(
                    name,
                    ["clusterIP": .string(ip), "clusterIPs": [.string(ip)], "ports": [["name": "p", "port": 80]]])
                services[name].map { builder.set($0) }
            case 1:
                services[name] = nil
                builder.removeService(ObjectKey(namespace: "shop", name: name))
            case 2:
                let key = "\(name)-\(Int.random(in: 0..<2, using: &random))"
                slices[key] = Self.slice(
                    key, of: name,
                    (0..<Int.random(in: 0..<4, using: &random)).map {
                        Self.endpoint(
                            "10.244.0.\(Int.random(in: 1..<6, using: &random) + $0)", ready: $0 != 2,
                            hostname: $0 == 1 ? "h\($0)" : nil)
                    }, ports: [["name": "p", "port": 80, "protocol": "TCP"]])
                slices[key].map { builder.set($0) }
            default:
                let key = "\(name)-\(Int.random(in: 0..<2, using: &random))"
                slices[key] = nil
                builder.removeSlice(ObjectKey(namespace: "shop", name: key))
            }
            if step % 7 == 0 { _ = builder.build(now: Timestamp(seconds: Int64(step))) }
        }
        _ = builder.build(now: Timestamp(seconds: 1))
        var fresh = ZoneBuilder(options)
        for service in services.values { fresh.set(service) }
        for slice in slices.values { fresh.set(slice) }
        _ = fresh.build(now: Timestamp(seconds: 1))
        #expect(builder.zone.names.count == fresh.zone.names.count)
        builder.markComplete()
        fresh.markComplete()
        for i in 0..<8 {
            for type in [RecordType.a, .srv] {
                let (one, other) = (
                    try ask(builder.zone, "s\(i).shop.svc.cluster.local", type),
                    try ask(fresh.zone, "s\(i).shop.svc.cluster.local", type)
                )
                #expect(one?.answers == other?.answers && one?.code == other?.code)
            }
        }
    }
}
