import JSON

/// A choice of objects by their labels: all requirements must hold. The empty selector chooses everything.
public struct LabelSelector: Hashable, Sendable, CustomStringConvertible {
    /// How many requirements and values a selector may hold; beyond, it is refused as malformed.
    public static let requirementLimit = 1000

    /// One condition on one label.
    public struct Requirement: Hashable, Sendable {
        public enum Operation: Hashable, Sendable {
            case equals, notEquals, within, notWithin, exists, absent, greater, less
        }

        public var key: String
        public var operation: Operation
        /// Sorted; one for `equals` and `notEquals`, none for `exists` and `absent`.
        public var values: [String]

        public init(_ key: String, _ operation: Operation, _ values: [String] = []) {
            self.key = key
            self.operation = operation
            self.values = values.sorted()
        }

        /// Whether a label with this value satisfies it; nil is an object without the label.
        public func matches(_ value: String?) -> Bool {
            switch operation {
            case .equals: value == values.first
            case .notEquals: value == nil || value != values.first
            case .within: value.map(values.contains) ?? false
            case .notWithin: value.map { !values.contains($0) } ?? true
            case .exists: value != nil
            case .absent: value == nil
            case .greater: compared(value) { $0 > $1 }
            case .less: compared(value) { $0 < $1 }
            }
        }

        private func compared(_ value: String?, _ holds: (Int64, Int64) -> Bool) -> Bool {
            guard let value, let left = Int64(value), let bound = values.first, let right = Int64(bound) else {
                return false
            }
            return holds(left, right)
        }
    }

    /// Sorted by key.
    public let requirements: [Requirement]

    public init(_ requirements: [Requirement] = []) {
        self.requirements = requirements.sorted { $0.key < $1.key }
    }

    public static let everything = LabelSelector()

    public var isEmpty: Bool { requirements.isEmpty }

    /// Whether an object with these labels is chosen.
    /// - Parameter labels: the value of `metadata.labels`; anything but an object counts as no labels.
    public func matches(_ labels: JSONValue?) -> Bool {
        requirements.allSatisfy { $0.matches(labels?[$0.key]?.string) }
    }

    /// Whether an object with these labels is chosen.
    public func matches(_ labels: [String: String]) -> Bool {
        requirements.allSatisfy { $0.matches(labels[$0.key]) }
    }

    /// The text form, as `status.selector` of a Scale and `?labelSelector=` carry it.
    public var description: String { requirements.map(\.text).joined(separator: ",") }
}

extension LabelSelector.Requirement {
    fileprivate var text: String {
        switch operation {
        case .equals: "\(key)=\(values[0])"
        case .notEquals: "\(key)!=\(values[0])"
        case .within: "\(key) in (\(values.joined(separator: ",")))"
        case .notWithin: "\(key) notin (\(values.joined(separator: ",")))"
        case .exists: key
        case .absent: "!\(key)"
        case .greater: "\(key)>\(values[0])"
        case .less: "\(key)<\(values[0])"
        }
    }
}

extension LabelSelector {
    /// From a map of labels that must all be there: a Service's or ReplicationController's `spec.selector`.
    public init(matchLabels: JSONValue?) {
        self.init((matchLabels?.object ?? [:]).map { Requirement($0.key, .equals, [$0.value.string ?? ""]) })
    }

    /// From an object of type LabelSelector: `matchLabels` and `matchExpressions`.
    /// - Returns: nil when there is no selector, which chooses nothing, or when it is malformed (validation says how).
    public init?(_ selector: JSONValue?) {
        guard let selector, selector.object != nil else { return nil }
        var requirements = LabelSelector(matchLabels: selector["matchLabels"]).requirements
        for expression in selector["matchExpressions"]?.array ?? [] {
            guard let key = expression["key"]?.string, let operation = expression["operator"]?.string else {
                return nil
            }
            let values = (expression["values"]?.array ?? []).compactMap(\.string)
            switch (operation, values.isEmpty) {
            case ("In", false): requirements.append(Requirement(key, .within, values))
            case ("NotIn", false): requirements.append(Requirement(key, .notWithin, values))
            case ("Exists", true): requirements.append(Requirement(key, .exists))
            case ("DoesNotExist", true): requirements.append(Requirement(key, .absent))
            default: return nil
            }
        }
        self.init(requirements)
    }
}
