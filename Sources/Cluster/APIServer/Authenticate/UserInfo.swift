import JSON

/// Who asks.
public struct UserInfo: Sendable, Hashable {
    public var name: String
    public var uid: String
    public var groups: [String]
    public var extra: [String: [String]]

    public init(name: String, uid: String = "", groups: [String] = [], extra: [String: [String]] = [:]) {
        self.name = name
        self.uid = uid
        self.groups = groups
        self.extra = extra
    }

    /// Nobody in particular: requests without credentials.
    public static let anonymous = UserInfo(name: "system:anonymous", groups: ["system:unauthenticated"])
    /// This server's own hand: bootstrap, and clean-ups that no client asked for.
    public static let server = UserInfo(name: "system:apiserver", groups: ["system:masters", "system:authenticated"])

    /// The bundled controllers.
    public static let controllerManager = UserInfo(
        name: "system:kube-controller-manager", groups: ["system:authenticated"])
    /// The bundled scheduler.
    public static let scheduler = UserInfo(name: "system:kube-scheduler", groups: ["system:authenticated"])

    public var isAnonymous: Bool { name == "system:anonymous" }

    func isIn(_ group: String) -> Bool { groups.contains(group) }

    /// As reviews show it.
    var json: JSONValue {
        var json: JSONValue = ["username": .string(name)]
        if !uid.isEmpty { json["uid"] = .string(uid) }
        if !groups.isEmpty { json["groups"] = .array(groups.map(JSONValue.string)) }
        if !extra.isEmpty {
            var all = JSONObject()
            for (key, values) in extra { all[key] = .array(values.map(JSONValue.string)) }
            json["extra"] = .object(all)
        }
        return json
    }
}
