import JSON
import Reactor
import TLS
import TestSupport
import Testing

@testable import Proxy
@testable import XDS

/// What stands in a configuration is read, or refused by its name, however deep it stands: shown with the configurations that
/// the oracle plays, in each of whose messages one field is set that nothing reads.
@Suite("Fields that nobody reads", .timeLimit(.minutes(5)))
struct UnreadFieldTests {
    /// A message in a configuration.
    private struct Spot {
        var path: ConfigPath
        var type: MessageType
        var object: JSONObject
    }

    private static let root = #filePath.split(separator: "/").dropLast(5).reduce("") { "\($0)/\($1)" }
    static let scenes: [String] = [
        "access-logs", "admin", "balancing", "decompressor", "destinations", "ext-authz-grpc", "fault", "filters",
        "header-levels", "http1-options", "http2", "identity", "jwt", "local-ratelimit", "local-replies", "ratelimit",
        "rbac", "retries", "routing", "runtime-weights", "tcp", "timeouts", "tls", "tracing", "upgrades",
    ]

    /// Every name that the proxy asks a message for stands in its sources as a literal.
    private static let literals: Set<String> = {
        var found: Set<String> = []
        for room in ["Sources/Mesh/Proxy", "Sources/Mesh/XDS/Reader", "Sources/Mesh/XDS/Resources"] {
            for file in files("\(root)/\(room)") where file.hasSuffix(".swift") {
                let text = (try? Files.readText(file)) ?? ""
                for (index, piece) in text.split(separator: "\"", omittingEmptySubsequences: false).enumerated()
                where index % 2 == 1 { found.insert(String(piece)) }
            }
        }
        return found
    }()

    private static func files(_ folder: String) -> [String] {
        ((try? Files.list(folder)) ?? []).flatMap { name in
            let path = "\(folder)/\(name)"
            return Files.isDirectory(path) ? files(path) : [path]
        }
    }

    private static let certificates: ScratchFolder? = {
        guard let folder = try? ScratchFolder(), let authority = try? CertificateAuthority.create(commonName: "ca")
        else { return nil }
        let template = CertificateTemplate(
            subject: DistinguishedName(commonName: "a"), names: AlternativeNames(dns: ["a.test"]), purpose: .peer)
        guard let identity = try? authority.issue(template) else { return nil }
        try? Files.writeAtomically("\(folder.path)/ca.pem", authority.certificate.pem)
        for name in ["server", "other", "client", "stranger"] {
            try? Files.writeAtomically("\(folder.path)/\(name).pem", identity.chain.map(\.pem).joined())
            try? Files.writeAtomically("\(folder.path)/\(name).key", identity.key.pem)
        }
        return folder
    }()

    /// A scene's bootstrap, with something for what stands for its ports and folders.
    private static func configuration(_ scene: String) throws -> JSONValue {
        let text = try Files.readText("\(root)/Tests/Oracle/Cases/\(scene)/config.yaml")
        var filled = ""
        var port = 20_000
        for (index, part) in text.components("${").enumerated() {
            guard index > 0, let end = part.firstIndex(of: "}") else {
                filled += part
                continue
            }
            let name = part[..<end]
            switch name {
            case "certs": filled += certificates?.path ?? ""
            case "log", "dir": filled += "/dev/null"
            case "cases": filled += "\(root)/Tests/Oracle/Cases/\(scene)"
            default:
                port += 1
                filled += "\(port)"
            }
            filled += part[part.index(after: end)...]
        }
        return try ConfigText(name: scene, text: filled).value()
    }

    private static func validate(_ configuration: JSONValue) throws {
        let text = ConfigText(name: "test", text: configuration.encodedString())
        try ProxyServer.validate(try Bootstrap.read([text]))
    }

    // MARK: Walking

    private static func spots(_ value: JSONValue) -> [Spot] {
        guard let type = ProtoSchema.envoy.message(Bootstrap.typeName), case .object(let object) = value else {
            return []
        }
        return spots(object, type, ConfigPath())
    }

    private static func spots(_ object: JSONObject, _ type: MessageType, _ path: ConfigPath) -> [Spot] {
        var found = [Spot(path: path, type: type, object: object)]
        for (key, value) in object {
            guard let position = type.position(named: key) else { continue }
            let field = type.fields[position]
            let here = path.field(field.name)
            switch (field.cardinality, value) {
            case (.list, .array(let elements)):
                for (index, element) in elements.enumerated() {
                    found += spots(element, field.kind, type.schema, here.appending(.element(index)))
                }
            case (.map, .object(let entries)):
                for (key, element) in entries {
                    found += spots(element, field.kind, type.schema, here.appending(.key(key)))
                }
            default: found += spots(value, field.kind, type.schema, here)
            }
        }
        return found
    }

    private static func spots(
        _ value: JSONValue, _ kind: FieldKind, _ schema: ProtoSchema, _ path: ConfigPath
    ) -> [Spot] {
        guard case .object(let object) = value else { return [] }
        switch kind {
        case .message(let number): return spots(object, schema.message(at: number), path)
        case .any:
            guard let name = object["@type"]?.string.flatMap(PackedMessage.typeName), let type = schema.message(name)
            else { return [] }
            return spots(object, type, path)
        default: return []
        }
    }

    private static func setting(_ key: String, _ new: JSONValue, at path: [ConfigPath.Step], in value: JSONValue)
        -> JSONValue
    {
        guard let step = path.first else {
            var object = value.object ?? [:]
            object[key] = new
            return .object(object)
        }
        let rest = Array(path.dropFirst())
        switch step {
        case .element(let index):
            var list = value.array ?? []
            list[index] = setting(key, new, at: rest, in: list[index])
            return .array(list)
        case .field(let name), .key(let name):
            var object = value.object ?? [:]
            let written = object[name] == nil ? FieldType.lowerCamel(name) : name
            object[written] = setting(key, new, at: rest, in: object[written] ?? [:])
            return .object(object)
        }
    }

    /// Something that the field may hold.
    private static func sample(of field: FieldType) -> JSONValue? {
        let single: JSONValue? =
            switch field.kind {
            case .scalar(.bool), .wrapper(.bool): .bool(true)
            case .scalar(.string), .wrapper(.string): "x"
            case .scalar(.bytes), .wrapper(.bytes): "eA=="
            case .scalar, .wrapper: 1
            case .duration: "1s"
            default: nil
            }
        return switch field.cardinality {
        case .single: single
        case .list: single.map { [$0] }
        case .map: nil
        }
    }

    private static func refusal(_ configuration: JSONValue) -> String? {
        do {
            try validate(configuration)
            return nil
        } catch { return "\(error)" }
    }

    @Test("are refused by name wherever they stand", arguments: scenes)
    func refused(scene: String) throws {
        let configuration = try Self.configuration(scene)
        try Self.validate(configuration)
        var tried: Set<[String]> = []
        for spot in Self.spots(configuration) {
            // One of many that are alike is enough.
            let shape = spot.path.steps.map { if case .field(let name) = $0 { name } else { "" } } + [spot.type.name]
            guard tried.insert(shape).inserted else { continue }
            let unread = spot.type.fields.first { field in
                !Self.literals.contains(field.name) && field.oneof == nil && spot.object[field.name] == nil
                    && Self.sample(of: field) != nil
            }
            let place = spot.path.steps.isEmpty ? "test:" : spot.path.description
            if let unread, let value = Self.sample(of: unread) {
                let changed = Self.setting(unread.name, value, at: spot.path.steps, in: configuration)
                let refusal = Self.refusal(changed) ?? "nothing"
                #expect(refusal.contains(unread.name) && refusal.contains(place), "\(place) \(unread.name): \(refusal)")
            }
            let changed = Self.setting("surely_unknown", 1, at: spot.path.steps, in: configuration)
            let error = #expect(throws: ConfigError.self) {
                try Bootstrap.read([ConfigText(name: "test", text: changed.encodedString())])
            }
            let refusal = error?.description ?? ""
            #expect(refusal.contains("surely_unknown") && refusal.contains(place), "\(place): \(refusal)")
        }
        #expect(tried.count > 10)
    }
}
