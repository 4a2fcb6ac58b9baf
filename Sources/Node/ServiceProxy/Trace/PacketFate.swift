import Bytes

/// What becomes of a new flow: each possible outcome with its share of flows.
struct PacketFate: Equatable, Sendable {
    enum Outcome: Hashable, Sendable {
        /// The endpoint sees the node as the source where `masqueraded`, and the client elsewhere.
        case endpoint(Endpoint, masqueraded: Bool)
        case rejected
        case dropped
        /// No Service's business: the packet goes where its address says.
        case untouched
    }

    private(set) var outcomes: [Outcome: Share]

    init(_ outcome: Outcome) { outcomes = [outcome: .whole] }

    /// Adds up the shares of equal outcomes; together they must be whole.
    init(_ parts: some Sequence<(Outcome, Share)>) {
        outcomes = [:]
        for (outcome, share) in parts { outcomes[outcome, default: .none] += share }
    }

    /// Whether some flows reach an endpoint.
    var arrives: Bool {
        outcomes.keys.contains { if case .endpoint = $0 { true } else { false } }
    }

    /// The same outcomes, their shares as near to each other as slots allow: a table with n slots can only tell n-ths.
    func agrees(with other: PacketFate) -> Bool {
        outcomes.count == other.outcomes.count
            && outcomes.allSatisfy { outcome, share in
                guard let its = other.outcomes[outcome] else { return false }
                return share == its
                    || abs(share.value - its.value) < 1 / Double(max(share.denominator, its.denominator))
            }
    }
}

/// A part of all flows: an exact fraction.
struct Share: Hashable, Sendable, CustomStringConvertible {
    private(set) var numerator: Int
    private(set) var denominator: Int

    static let none = Share(0, of: 1)
    static let whole = Share(1, of: 1)

    init(_ numerator: Int, of denominator: Int) {
        precondition(denominator > 0, "a share of nothing")
        var (a, b) = (numerator, denominator)
        while b != 0 { (a, b) = (b, a % b) }
        self.numerator = numerator / max(a, 1)
        self.denominator = denominator / max(a, 1)
    }

    static func += (a: inout Share, b: Share) {
        a = Share(a.numerator * b.denominator + b.numerator * a.denominator, of: a.denominator * b.denominator)
    }

    static func / (a: Share, parts: Int) -> Share { Share(a.numerator, of: a.denominator * parts) }

    var value: Double { Double(numerator) / Double(denominator) }
    var description: String { numerator == denominator ? "all" : "\(numerator)/\(denominator)" }
}

extension PacketFate: CustomStringConvertible {
    /// `10.244.1.5:8080 masqueraded 1/3, …`, in the order of endpoints.
    var description: String {
        sorted.map { "\($0) \($1)" }.joined(separator: ", ")
    }

    var sorted: [(Outcome, Share)] { outcomes.sorted { $0.key < $1.key }.map { ($0.key, $0.value) } }
}

extension PacketFate.Outcome: Comparable, CustomStringConvertible {
    static func < (a: Self, b: Self) -> Bool {
        if case .endpoint(let one, _) = a, case .endpoint(let other, _) = b { return one < other }
        return a.rank < b.rank
    }

    private var rank: Int {
        switch self {
        case .endpoint: 0
        case .rejected: 1
        case .dropped: 2
        case .untouched: 3
        }
    }

    var description: String {
        switch self {
        case .endpoint(let endpoint, let masqueraded):
            "\(IPEndpoint(endpoint.address, endpoint.port))\(masqueraded ? " masqueraded" : "")"
        case .rejected: "rejected"
        case .dropped: "dropped"
        case .untouched: "untouched"
        }
    }
}
