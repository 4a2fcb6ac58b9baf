/// Where each worker keeps the present form of a chain some of whose filters come by name. As long as somebody holds it.
final class FilterChainPlace: Sendable {
    let number: Int
    fileprivate init(_ number: Int) { self.number = number }
}

/// The connection managers some of whose filters come by name, as configuration made them. On the main loop only.
final class FilterChainPlaces {
    private struct Entry {
        weak var place: FilterChainPlace?
        weak var manager: ConnectionManager?
    }

    /// nil where there is none any more.
    private var all: [Entry?] = []

    func make() -> FilterChainPlace {
        let number = all.firstIndex { $0 == nil } ?? all.count
        let place = FilterChainPlace(number)
        if number == all.count { all.append(nil) }
        all[number] = Entry(place: place, manager: nil)
        return place
    }

    func set(_ manager: ConnectionManager, at place: FilterChainPlace) { all[place.number]?.manager = manager }

    /// Forgets those that nobody holds any more.
    ///
    /// - Returns: their numbers.
    func sweep() -> [Int] {
        let gone = all.indices.filter { all[$0] != nil && all[$0]?.place == nil }
        for number in gone { all[number] = nil }
        return gone
    }

    /// Those of which a filter is what stands at a place of `BuildContext.extensions`.
    func managers(of extensionPlace: Int) -> [ConnectionManager] {
        all.compactMap { $0?.manager }.filter { manager in
            manager.discovered?.filters.contains { $0.resource.place == extensionPlace } ?? false
        }
    }
}
