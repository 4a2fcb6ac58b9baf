import ClusterAPI
import JSON

/// How many replicas each ReplicaSet of a Deployment should have next. Pure: the whole of the rolling update is here.
struct RolloutPlan: Equatable {
    /// Wanted replicas by the name of the ReplicaSet; only those that change.
    var scale: [String: Int] = [:]

    /// What the plan reads of one ReplicaSet.
    struct Set: Equatable {
        var name: String
        /// `spec.replicas`.
        var wanted: Int
        /// `status.replicas`: pods that are there.
        var running: Int
        var available: Int
        /// Creation time; older first.
        var created: String
        /// The Deployment's replicas when this one was last scaled; nil when unknown.
        var desired: Int?
        /// The same plus surge; 0 when unknown.
        var maxReplicas = 0
    }

    struct Bounds: Equatable {
        var replicas: Int
        var maxSurge: Int
        var maxUnavailable: Int

        init(replicas: Int, maxSurge: Int, maxUnavailable: Int) {
            self.replicas = replicas
            self.maxSurge = maxSurge
            self.maxUnavailable = maxUnavailable
        }

        /// From `spec.strategy`: surge is rounded up and unavailability down; when both come to 0, one may be unavailable.
        /// Recreate knows neither.
        init(_ deployment: KubeObject) {
            replicas = max(0, Int(clamping: deployment.spec["replicas"]?.int ?? 1))
            guard deployment.spec["strategy"]?["type"]?.string != "Recreate" else {
                (maxSurge, maxUnavailable) = (0, 0)
                return
            }
            let rolling = deployment.spec["strategy"]?["rollingUpdate"]
            maxSurge = resolvedCount(rolling?["maxSurge"] ?? "25%", of: replicas, roundUp: true, default: 1)
            maxUnavailable = min(
                replicas, resolvedCount(rolling?["maxUnavailable"] ?? "25%", of: replicas, roundUp: false, default: 0))
            if maxSurge == 0, maxUnavailable == 0 { maxUnavailable = 1 }
        }
    }

    /// One step of a rolling update: the new set grows as far as the surge allows, or else old ones shrink as far as
    /// availability allows.
    static func rolling(new: Set, old: [Set], _ bounds: Bounds) -> RolloutPlan {
        if new.wanted > bounds.replicas { return RolloutPlan(scale: [new.name: bounds.replicas]) }
        if new.wanted < bounds.replicas {
            let total = new.wanted + old.reduce(0) { $0 + $1.wanted }
            let room = bounds.replicas + bounds.maxSurge - total
            if room > 0 {
                return RolloutPlan(scale: [new.name: new.wanted + min(room, bounds.replicas - new.wanted)])
            }
        }
        return RolloutPlan(scale: shrinking(old, new: new, bounds))
    }

    /// Everything old goes before anything new comes.
    static func recreate(new: Set?, old: [Set], replicas: Int) -> RolloutPlan {
        var plan = RolloutPlan()
        for set in old where set.wanted > 0 { plan.scale[set.name] = 0 }
        guard plan.scale.isEmpty, old.allSatisfy({ $0.running == 0 }), let new, new.wanted != replicas else {
            return plan
        }
        plan.scale[new.name] = replicas
        return plan
    }

    private static func shrinking(_ old: [Set], new: Set, _ bounds: Bounds) -> [String: Int] {
        let oldTotal = old.reduce(0) { $0 + $1.wanted }
        guard oldTotal > 0 else { return [:] }
        let leastAvailable = bounds.replicas - bounds.maxUnavailable
        // Pods of the new set that are not available yet count as if they were missing.
        var budget = oldTotal + new.wanted - leastAvailable - (new.wanted - new.available)
        guard budget > 0 else { return [:] }
        var wanted: [String: Int] = [:]
        let oldestFirst = old.sorted { ($0.created, $0.name) < ($1.created, $1.name) }
        // First what serves nobody anyway.
        for set in oldestFirst where set.wanted > 0 && set.available < set.wanted {
            let unhealthy = min(budget, set.wanted - set.available)
            guard unhealthy > 0 else { continue }
            wanted[set.name] = set.wanted - unhealthy
            budget -= unhealthy
        }
        // Then what serves, as long as enough stay available.
        var spare = new.available + old.reduce(0) { $0 + $1.available } - leastAvailable
        for set in oldestFirst where spare > 0 {
            let current = wanted[set.name] ?? set.wanted
            let cut = min(current, spare)
            guard cut > 0 else { continue }
            wanted[set.name] = current - cut
            spare -= cut
        }
        return wanted
    }

    /// A change of `spec.replicas` in the middle of a rollout is shared among the sets in proportion to their size.
    ///
    /// - Returns: nil when no resize is under way; else every set with pods, also those that keep their size, because
    ///   each must note the new number lest the same resize be seen again.
    static func resize(new: Set?, old: [Set], _ bounds: Bounds) -> RolloutPlan? {
        let active = (old + (new.map { [$0] } ?? [])).filter { $0.wanted > 0 }
        if active.isEmpty, let new, bounds.replicas > 0 { return RolloutPlan(scale: [new.name: bounds.replicas]) }
        guard active.contains(where: { $0.desired != nil && $0.desired != bounds.replicas }) else { return nil }
        if active.count == 1, let only = active.first {
            // A set that holds everything follows the Deployment at once.
            return RolloutPlan(scale: [only.name: bounds.replicas])
        }
        let allowed = bounds.replicas > 0 ? bounds.replicas + bounds.maxSurge : 0
        let total = active.reduce(0) { $0 + $1.wanted }
        let change = allowed - total
        let ordered = active.sorted {
            if $0.wanted != $1.wanted { return $0.wanted > $1.wanted }
            let isOlder = ($0.created, $0.name) < ($1.created, $1.name)
            return change > 0 ? !isOlder : isOlder
        }
        var left = change
        var plan = RolloutPlan()
        for set in ordered {
            let basis = set.maxReplicas == 0 ? total : set.maxReplicas
            let share = Int((Double(set.wanted) * Double(allowed) / Double(basis)).rounded()) - set.wanted
            let step = change > 0 ? min(max(share, 0), left) : max(min(share, 0), left)
            plan.scale[set.name] = set.wanted + step
            left -= step
        }
        // Rounding leaves a remainder: the largest takes it.
        if left != 0, let largest = ordered.first {
            plan.scale[largest.name] = max(0, (plan.scale[largest.name] ?? largest.wanted) + left)
        }
        return plan
    }
}
