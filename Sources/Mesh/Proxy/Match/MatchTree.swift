import Bytes
import XDS

/// A decision by what a request or connection is (`xds.type.matcher.v3.Matcher`): a list of predicates, or a map from an
/// input's text, with further trees below. Immutable; evaluating one allocates only where an input must be written as text.
struct MatchTree<Action: Sendable>: Sendable {
    /// What follows a match.
    indirect enum Outcome: Sendable {
        case action(Action)
        case tree(MatchTree)
        /// The action is taken note of by whoever evaluates, and the search goes on.
        case keepMatching(Outcome)
    }

    indirect enum Predicate: Sendable {
        case text(MatchInput, StringMatcher)
        case address(MatchInput, AddressRanges)
        /// What stands in metadata; where nothing does, that is looked at, too.
        case metadata(MatchInput, ValueMatcher, inverts: Bool)
        case fraction(RuntimeFraction)
        case hash(MatchInput, threshold: UInt64, modulo: UInt64, seed: UInt64)
        case any([Predicate])
        case all([Predicate])
        case not(Predicate)

        func holds(_ subject: MatchSubject) -> Bool {
            switch self {
            case .text(let input, let matcher): input.withText(subject) { $0.map(matcher.matches) ?? false }
            case .address(let input, let ranges): input.address(subject).map(ranges.contains) ?? false
            case .metadata(let input, let matcher, let inverts):
                matcher.matches(input.metadata(subject)) != inverts
            case .fraction(let fraction): fraction.holds(subject.stream?.random ?? 0)
            case .hash(let input, let threshold, let modulo, let seed):
                input.withText(subject) { $0.map { XXHash64.hash($0, seed: seed) % modulo >= threshold } ?? false }
            case .any(let predicates): predicates.contains { $0.holds(subject) }
            case .all(let predicates): predicates.allSatisfy { $0.holds(subject) }
            case .not(let predicate): !predicate.holds(subject)
            }
        }
    }

    enum Kind: Sendable {
        case list([(predicate: Predicate, outcome: Outcome)])
        /// Keys in ascending order, for a binary search.
        case exact(MatchInput, [(key: [UInt8], outcome: Outcome)])
        /// The longest that the input begins with.
        case prefix(MatchInput, [(key: [UInt8], outcome: Outcome)])
        /// The longest prefix of an address.
        case addresses(MatchInput, PrefixTable<Int>, [Outcome])
        /// A name, or the longest of the wildcards that it falls under.
        case names(MatchInput, ServerNames, [Outcome])
        case nothing
    }

    /// Exact names, and suffixes of wildcards (`.example.com`, and "" for `*`), with the index of their outcome.
    struct ServerNames: Sendable {
        var exact: [(name: [UInt8], index: Int)]
        var suffixes: [(name: [UInt8], index: Int)]
    }

    let kind: Kind
    let otherwise: Outcome?

    /// The action that is decided on; nil for none.
    ///
    /// - Parameter passing: hears of actions that match without ending the search.
    func decide(_ subject: MatchSubject, passing: (Action) -> Void = { _ in }) -> Action? {
        switch kind {
        case .list(let rules):
            for rule in rules where rule.predicate.holds(subject) {
                if let action = rule.outcome.decide(subject, passing) { return action }
            }
        case .exact(let input, let entries):
            let found = input.withText(subject) { text in text.flatMap { Self.search(entries, $0) } }
            if let found, let action = found.decide(subject, passing) { return action }
        case .prefix(let input, let entries):
            // Longest first.
            let action: Action?? = input.withText(subject) { text in
                guard let text else { return nil }
                for entry in entries where text.starts(with: entry.key) {
                    if let action = entry.outcome.decide(subject, passing) { return action }
                }
                return nil
            }
            if let action = action ?? nil { return action }
        case .addresses(let input, let table, let outcomes):
            if let address = input.address(subject), let index = table.longestMatch(address),
                let action = outcomes[index].decide(subject, passing)
            {
                return action
            }
        case .names(let input, let names, let outcomes):
            let index = input.withText(subject) { text in text.flatMap { Self.search(names, $0) } }
            if let index, let action = outcomes[index].decide(subject, passing) { return action }
        case .nothing: break
        }
        return otherwise?.decide(subject, passing)
    }

    private static func search(
        _ entries: [(key: [UInt8], outcome: Outcome)], _ text: UnsafeRawBufferPointer
    ) -> Outcome? {
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].key.lexicographicallyPrecedes(text) { low = middle + 1 } else { high = middle }
        }
        guard low < entries.count, entries[low].key.elementsEqual(text) else { return nil }
        return entries[low].outcome
    }

    private static func search(_ names: ServerNames, _ text: UnsafeRawBufferPointer) -> Int? {
        if let entry = names.exact.first(where: { $0.name.elementsEqual(text) }) { return entry.index }
        return names.suffixes.first { suffix in
            text.count > suffix.name.count && text.suffix(suffix.name.count).elementsEqual(suffix.name)
        }?.index
    }
}

extension MatchTree.Outcome {
    fileprivate func decide(_ subject: MatchSubject, _ passing: (Action) -> Void) -> Action? {
        switch self {
        case .action(let action): return action
        case .tree(let tree): return tree.decide(subject, passing: passing)
        case .keepMatching(let outcome):
            if let action = outcome.decide(subject, passing) { passing(action) }
            return nil
        }
    }
}
