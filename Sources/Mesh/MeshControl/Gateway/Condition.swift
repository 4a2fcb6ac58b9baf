import Bytes
import JSON

/// A condition of a status, without the times that it gets when it is written.
struct Condition: Hashable {
    var type: String
    var holds: Bool
    var reason: String
    var message: String

    init(_ type: String, _ holds: Bool, _ reason: String, _ message: String = "") {
        self.type = type
        self.holds = holds
        self.reason = reason
        self.message = message
    }

    static let messageLimit = 32_768

    /// As it is stored, for the generation of an object that it is about. The time is that of the last change of `status`.
    func json(generation: Int64, after old: [JSONValue], now: Timestamp) -> JSONValue {
        let status: JSONValue = .string(holds ? "True" : "False")
        let known = old.first { $0.text("type") == type }
        let time = known.flatMap { $0["status"] == status ? $0["lastTransitionTime"] : nil } ?? .string(now.rfc3339)
        return [
            "type": .string(type), "status": status, "reason": .string(reason),
            "message": .string(String(message.prefix(Self.messageLimit))), "observedGeneration": .int(generation),
            "lastTransitionTime": time,
        ]
    }
}

extension [Condition] {
    /// - Parameter own: The types that are ours to write: those of them that are not here are gone. The others, which somebody else has
    ///   written, stay. Nil is that all are ours.
    func json(generation: Int64, after old: [JSONValue], now: Timestamp, own: Set<String>? = nil) -> JSONValue {
        let fresh = map { $0.json(generation: generation, after: old, now: now) }
        guard let own else { return .array(fresh) }
        return .array(fresh + old.filter { !own.contains($0.text("type")) })
    }
}
