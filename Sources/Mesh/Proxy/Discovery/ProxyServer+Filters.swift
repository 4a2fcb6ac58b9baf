import Bytes
import XDS

// Filters by name. One that comes, or changes, makes each chain anew that has it; connections take that with their next request.
extension ProxyServer {
    /// Nothing changes unless every chain can use it.
    func setFilter(_ resource: Resource, _ place: Int) throws {
        try publish(context.filterChains.managers(of: place)) { $0 == place ? resource : nil }
    }

    /// There is none any more: chains go on with what stands in for it.
    func removeFilter(_ place: Int) {
        guard context.extensions[place]?.resource != nil else { return }
        context.extensions[place]?.resource = nil
        try? publish(context.filterChains.managers(of: place)) { _ in nil }
    }

    private func publish(
        _ managers: [ConnectionManager], _ fresh: (Int) -> Resource?
    ) throws(ConfigError) {
        // Workers must not hold what says where they keep it: it ends with the listeners that have it.
        var made: [(place: Int, manager: ConnectionManager)] = []
        for manager in managers {
            guard let place = manager.discovered?.place.number else { continue }
            made.append((place, manager.with(try manager.filters(context, fresh), discovered: nil)))
        }
        for worker in workers {
            worker.loop.submit { [made] in for (place, manager) in made { worker.set(manager, at: place) } }
        }
    }

    func reportExtensions(to report: inout StatReport) {
        for case let subscription? in context.extensions.all {
            let prefix = "extension_config_discovery.http_filter.\(subscription.source.name)."
            let stats = subscription.stats
            stats.report(.process, prefix, .reloads, to: &report)
            report.counter(.process, prefix + "config_conflict", subscription.conflicts)
            report.counter(.process, prefix + "config_fail", stats.rejections &+ stats.fetchTimeouts &+ stats.failures)
        }
    }
}

extension ConnectionManager {
    /// Made anew from now on when one of its filters comes by name.
    func registered(_ context: BuildContext) throws(ConfigError) -> ConnectionManager {
        guard let discovered else { return self }
        let manager = with(try filters(context) { _ in nil }, discovered: discovered)
        context.filterChains.set(manager, at: discovered.place)
        return manager
    }

    /// Its filters as they have come by now.
    ///
    /// - Parameter fresh: what is about to be used at a place of `BuildContext.extensions`; nil for what is in use there.
    fileprivate func filters(
        _ context: BuildContext, _ fresh: (Int) -> Resource?
    ) throws(ConfigError) -> [InstalledFilter] {
        guard let discovered else { return filters }
        var filters = filters
        let filterContext = FilterContext(build: context, prefix: discovered.prefix)
        for filter in discovered.filters {
            let place = filter.resource.place
            var found = filter.substitute
            if let resource = fresh(place) {
                found = try filter.filter(resource, filterContext)
            } else if let resource = context.extensions[place]?.resource {
                // Of use to whom it was sent for, and perhaps not to this one.
                do throws(ConfigError) { found = try filter.filter(resource, filterContext) } catch {
                    context.extensions[place]?.conflicts += 1
                }
            }
            filters[filter.slot] = filters[filter.slot].with(found)
        }
        return filters
    }
}
