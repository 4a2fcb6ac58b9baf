import ClusterAPI
import JSON

/// New weights for the backends of a rule: pure.
///
/// `v2=50%` gives a backend this share, and leaves the rest to the others as they share it now. `cart=90 cart-v2=10` are weights as
/// they are written; backends that are not named keep theirs. A name may be the end of a backend's: `v2` is `cart-v2`.
struct WeightShift: Hashable {
    enum Amount: Hashable {
        case percent(Int64)
        case weight(Int64)
    }

    struct Wish: Hashable {
        var name: String
        var amount: Amount
    }

    private(set) var wishes: [Wish] = []

    /// The API's bound for a weight.
    static let heaviest: Int64 = 1_000_000

    init(_ words: [String]) throws {
        for word in words {
            let parts = word.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, !parts[0].isEmpty else { throw Self.malformed(word) }
            let isPercent = parts[1].hasSuffix("%")
            guard let number = Int64(isPercent ? String(parts[1].dropLast()) : parts[1]),
                (0...(isPercent ? 100 : Self.heaviest)).contains(number)
            else { throw Self.malformed(word) }
            guard !wishes.contains(where: { $0.name == parts[0] }) else {
                throw Refusal("\(parts[0]) is named twice", hint: "one weight each")
            }
            wishes.append(Wish(name: parts[0], amount: isPercent ? .percent(number) : .weight(number)))
        }
        let percents = wishes.compactMap { if case .percent(let share) = $0.amount { share } else { nil } }
        guard percents.isEmpty || percents.count == wishes.count else {
            throw Refusal("percentages and weights do not mix", hint: "v2=50%, or cart=90 cart-v2=10")
        }
        guard percents.reduce(0, +) <= 100 else {
            throw Refusal("that is more than 100%", hint: words.joined(separator: " "))
        }
    }

    private static func malformed(_ word: String) -> Refusal {
        Refusal("\"\(word)\" is no share", hint: "BACKEND=PERCENT% or BACKEND=WEIGHT is expected: v2=50%")
    }

    /// The backends of one rule with their new weights.
    ///
    /// - Parameters:
    ///   - base: the Service that the route is for, whose name versions' names begin with.
    ///   - services: of the route's namespace; a name that is none of the rule's backends yet is one of these.
    func applied(to backends: [JSONValue], base: String, services: [KubeObject]) throws -> [JSONValue] {
        var backends = backends
        var places: [Int] = []
        for wish in wishes {
            if let place = try Self.place(wish.name, in: backends.map { $0.text("name") }, base) {
                places.append(place)
            } else {
                guard let service = Self.service(wish.name, base, services) else {
                    let known = backends.map { $0.text("name") }.joined(separator: ", ")
                    throw Refusal(
                        "\(wish.name) is no backend of the route, and no Service", hint: "backends now: \(known)")
                }
                backends.append(try Self.reference(to: service, like: backends.first))
                places.append(backends.count - 1)
            }
        }
        guard Set(places).count == places.count else {
            throw Refusal("two of the names mean one backend", hint: wishes.map(\.name).joined(separator: ", "))
        }
        let old = backends.indices.map { places.contains($0) ? 0 : backends[$0]["weight"]?.int ?? 1 }
        var weights = backends.indices.map { backends[$0]["weight"]?.int ?? 1 }
        if case .percent? = wishes.first?.amount {
            var rest: Int64 = 100
            for (wish, place) in zip(wishes, places) {
                guard case .percent(let share) = wish.amount else { continue }
                weights[place] = share
                rest -= share
            }
            let others = backends.indices.filter { !places.contains($0) }
            guard rest == 0 || !others.isEmpty else {
                throw Refusal("\(rest)% would go nowhere", hint: "the rule has no other backend; name one, or say 100%")
            }
            Self.distribute(rest, over: others, by: old, &weights)
        } else {
            for (wish, place) in zip(wishes, places) {
                if case .weight(let weight) = wish.amount { weights[place] = weight }
            }
        }
        guard weights.contains(where: { $0 > 0 }) else {
            throw Refusal("all weights would be 0, and every request be answered with 500", hint: "leave one above 0")
        }
        return backends.indices.map { index in
            var backend = backends[index]
            backend["weight"] = .int(weights[index])
            return backend
        }
    }

    /// By their present proportions, to the last percent; who has most gets what is left.
    private static func distribute(_ rest: Int64, over places: [Int], by old: [Int64], _ weights: inout [Int64]) {
        var total = places.reduce(0) { $0 + old[$1] }
        var shares = old
        if total == 0 {
            // Nothing says how; the first takes all.
            if let first = places.first { (shares[first], total) = (1, 1) }
        }
        var left = rest
        for place in places {
            weights[place] = rest * shares[place] / total
            left -= weights[place]
        }
        if let heaviest = places.max(by: { shares[$0] < shares[$1] }) { weights[heaviest] += left }
    }

    private static func place(_ name: String, in names: [String], _ base: String) throws -> Int? {
        if let exact = names.firstIndex(of: name) ?? names.firstIndex(of: "\(base)-\(name)") { return exact }
        let ending = names.indices.filter { names[$0].hasSuffix("-\(name)") }
        guard ending.count < 2 else {
            throw Refusal(
                "\(name) may be \(ending.map { names[$0] }.joined(separator: " or "))", hint: "say the whole name")
        }
        return ending.first
    }

    static func service(_ name: String, _ base: String, _ services: [KubeObject]) -> KubeObject? {
        services.first { $0.name == name } ?? services.first { $0.name == "\(base)-\(name)" }
    }

    /// The port that the other backend has, where the Service has it; else its only one.
    static func reference(to service: KubeObject, like other: JSONValue?) throws -> JSONValue {
        let ports = service.spec.list("ports").compactMap { $0["port"]?.int }
        guard let port = ports.first(where: { $0 == other?["port"]?.int }) ?? (ports.count == 1 ? ports[0] : nil) else {
            throw Refusal(
                "which port of Service \(service.key)? It has \(ports.map(String.init).joined(separator: ", "))",
                hint: "add the backend to the route by kubectl edit")
        }
        return ["name": .string(service.name), "port": .int(port)]
    }
}
