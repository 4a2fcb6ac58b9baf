// What the levels of routing say about filters. The most specific level that says something wins.
extension RouteEntry {
    /// Nothing is said about any filter.
    @inline(__always)
    var hasNoOverrides: Bool { overrides.isEmpty }

    /// Whether the filter takes part; nil where nothing is said of it. Settings for a filter that is disabled in the chain turn
    /// it on.
    func isDisabled(_ filter: FilterID) -> Bool? {
        for level in overrides {
            guard let entry = level.find(filter) else { continue }
            return entry.isDisabled ?? false
        }
        return nil
    }

    func settings(_ filter: FilterID) -> FilterSettings? {
        for level in overrides { if let settings = level.find(filter)?.settings { return settings } }
        return nil
    }

    /// Shows what every level says, the most specific first.
    func eachSettings(_ filter: FilterID, _ body: (FilterSettings) -> Void) {
        for level in overrides { if let settings = level.find(filter)?.settings { body(settings) } }
    }
}
