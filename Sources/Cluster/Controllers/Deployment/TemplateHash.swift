import JSON

/// The value of `pod-template-hash`: FNV-1a of the template's text, in an alphabet without vowels so that no word appears.
///
/// - Parameter collisions: `status.collisionCount`, mixed in so that a collision is left behind.
func templateHash(_ template: JSONValue, collisions: Int64) -> String {
    var hash: UInt32 = 2_166_136_261
    func mix(_ bytes: [UInt8]) { for byte in bytes { hash = (hash ^ UInt32(byte)) &* 16_777_619 } }
    mix(template.encoded())
    if collisions > 0 { mix(Array(String(collisions).utf8)) }
    let alphabet = Array("bcdfghjklmnpqrstvwxz2456789".utf8)
    return String(decoding: String(hash).utf8.map { alphabet[Int($0) % alphabet.count] }, as: UTF8.self)
}

/// A pod template without what controllers add to it, so that two may be compared.
func comparableTemplate(_ template: JSONValue?) -> JSONValue {
    var template = template ?? .object(JSONObject())
    template["metadata"]?["labels"]?[DeploymentController.hashLabel] = nil
    if template["metadata"]?["labels"]?.object?.isEmpty == true { template["metadata"]?["labels"] = nil }
    template["metadata"]?["creationTimestamp"] = nil
    return template
}
