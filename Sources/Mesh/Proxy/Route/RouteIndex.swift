import Bytes

/// Finds the first of many routes that matches without asking all: by the hash of the whole path, and of its beginnings as
/// long as some route's prefix. Routes that no text stands for (expressions, patterns of any case) are asked one by one.
///
/// Lists hold positions in ascending order, so that each is left at its first match and never passes the best so far.
struct RouteIndex: Sendable {
    /// Fewer routes are asked one by one faster.
    static let threshold = 16

    private let routes: [RouteEntry]
    private let exact: [UInt64: [Int32]]
    private let prefixes: [UInt64: [Int32]]
    /// Lengths of prefixes, ascending.
    private let lengths: [Int]
    private let others: [Int32]

    init(_ routes: [RouteEntry]) {
        var exact: [UInt64: [Int32]] = [:]
        var prefixes: [UInt64: [Int32]] = [:]
        var lengths: Set<Int> = []
        var others: [Int32] = []
        for (position, route) in routes.enumerated() {
            let position = Int32(position)
            switch route.match.path {
            case _ where !route.match.isCaseSensitive: others.append(position)
            case .exact(let path): exact[FNV1a.hash64(path), default: []].append(position)
            case .prefix(let prefix), .segments(let prefix):
                prefixes[FNV1a.hash64(prefix), default: []].append(position)
                lengths.insert(prefix.count)
            case .regex, .template, .connect: others.append(position)
            }
        }
        self.routes = routes
        self.exact = exact
        self.prefixes = prefixes
        self.lengths = lengths.sorted()
        self.others = others
    }

    func find(
        _ path: UnsafeRawBufferPointer, isConnect: Bool, _ matches: (RouteEntry) -> Bool
    ) -> RouteEntry? {
        var best = Int32.max
        func look(_ positions: [Int32]?) {
            guard let positions else { return }
            for position in positions {
                guard position < best else { return }
                if matches(routes[Int(position)]) {
                    best = position
                    return
                }
            }
        }
        var hash = FNV1a()
        var done = 0
        for length in lengths {
            guard length <= path.count else { break }
            while done < length {
                hash.combine(path[done])
                done += 1
            }
            look(prefixes[hash.value])
        }
        while done < path.count {
            hash.combine(path[done])
            done += 1
        }
        look(exact[hash.value])
        look(others)
        return best == .max ? nil : routes[Int(best)]
    }
}
