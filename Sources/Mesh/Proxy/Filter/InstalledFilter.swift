/// A filter in its place in a chain.
package struct InstalledFilter: Sendable {
    let filter: HTTPFilter
    /// By which routes speak of it.
    let id: FilterID
    /// Takes part only where a route says so.
    let isDisabled: Bool
    let phases: FilterPhases

    init(_ filter: HTTPFilter, name: String, isDisabled: Bool = false) {
        self.filter = filter
        self.isDisabled = isDisabled
        id = FilterID(name)
        phases = filter.phases
    }

    private init(_ filter: HTTPFilter, _ id: FilterID, isDisabled: Bool) {
        (self.filter, self.id, self.isDisabled) = (filter, id, isDisabled)
        phases = filter.phases
    }

    /// Another filter in its place.
    func with(_ filter: HTTPFilter) -> InstalledFilter { InstalledFilter(filter, id, isDisabled: isDisabled) }
}

/// What those who build filters from configuration need to know besides the filter itself.
struct FilterContext {
    let build: BuildContext
    /// Before the names of the filter's counters: `http.PREFIX.`
    let prefix: String

    func counter(_ name: String) -> CounterID { build.counters.counter(prefix + name) }
}

extension HTTPStream {
    /// Which filters of the chain have no part in this request, a bit a slot: decided once, when its route is known.
    func findSkippedFilters() {
        guard let route, !(route.hasNoOverrides && routing.weighted == nil) else {
            skippedFilters = manager.disabledFilters
            return
        }
        var skipped: UInt64 = 0
        for (slot, installed) in manager.filters.enumerated()
        where routing.weighted?.overrides.find(installed.id).map({ $0.isDisabled ?? false })
            ?? route.isDisabled(installed.id) ?? installed.isDisabled
        { skipped |= 1 << UInt64(slot) }
        skippedFilters = skipped
    }

    @inline(__always)
    func skips(_ slot: Int) -> Bool { skippedFilters & 1 << UInt64(slot) != 0 }

    /// Shows what every level of the request's route says to the filter in `slot`, the most specific first.
    func eachSettings(_ slot: Int, _ body: (FilterSettings) -> Void) {
        let id = manager.filters[slot].id
        if let settings = routing.weighted?.overrides.find(id)?.settings { body(settings) }
        route?.eachSettings(id, body)
    }

    /// What the request's route says to the filter in `slot`, at the most specific level that says something.
    @inline(__always)
    func settings(_ slot: Int) -> FilterSettings? {
        if let settings = routing.weighted?.overrides.find(manager.filters[slot].id)?.settings { return settings }
        guard let route, !route.hasNoOverrides else { return nil }
        return route.settings(manager.filters[slot].id)
    }
}
