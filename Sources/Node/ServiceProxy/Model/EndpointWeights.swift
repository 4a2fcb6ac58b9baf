import JSON

/// `weft.dev/endpoint-weights` on an EndpointSlice: how much of a Service's new connections each endpoint gets. Beyond
/// kube-proxy, for which all are equal.
///
/// A list of `what/name=weight`, parted by commas, of which the first that fits an endpoint counts; an endpoint that none
/// fits has 1. What: `pod`, `node` or `zone`; the name may end with `*`. `*=weight` fits all. Weights are 0 to 255; 0 gets
/// no new connections, unless all have 0.
///
///     pod/cart-canary-*=5, zone/eu-1b=20, *=95
struct EndpointWeights: Hashable, Sendable {
    static let annotation = "weft.dev/endpoint-weights"

    private enum Subject: String { case pod, node, zone }

    private struct Rule: Hashable, Sendable {
        /// nil fits all.
        var subject: Subject?
        var name: Substring
        var isPrefix: Bool
        var weight: UInt8
    }

    private var rules: [Rule] = []

    /// What cannot be read of it is passed over.
    init(_ text: String) {
        for part in text.split(separator: ",") {
            let sides = part.split(separator: "=", omittingEmptySubsequences: false).map(Self.trimmed)
            guard sides.count == 2, let weight = UInt8(sides[1]) else { continue }
            if sides[0] == "*" {
                rules.append(Rule(subject: nil, name: "", isPrefix: true, weight: weight))
                continue
            }
            let words = sides[0].split(separator: "/", maxSplits: 1)
            guard words.count == 2, let subject = Subject(rawValue: String(words[0])) else { continue }
            let isPrefix = words[1].hasSuffix("*")
            rules.append(
                Rule(
                    subject: subject, name: isPrefix ? words[1].dropLast() : words[1], isPrefix: isPrefix,
                    weight: weight))
        }
    }

    /// Of an endpoint as an EndpointSlice has it.
    func weight(of endpoint: JSONValue) -> UInt8 {
        rules.first { rule in
            guard let subject = rule.subject else { return true }
            let name: String? =
                switch subject {
                case .pod: endpoint["targetRef"]?["name"]?.string
                case .node: endpoint["nodeName"]?.string
                case .zone: endpoint["zone"]?.string
                }
            guard let name else { return false }
            return rule.isPrefix ? name.hasPrefix(rule.name) : name == rule.name
        }?.weight ?? 1
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text.drop(while: \.isWhitespace)
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }
}
