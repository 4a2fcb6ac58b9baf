import Reactor
import ClusterAPI
import Telemetry

/// What a reconcile asks for when it is through.
public enum ReconcileResult: Sendable {
    case done
    /// Look again after this long even if nothing changes.
    case again(after: Duration)
}

/// Works through a queue until the surrounding task is cancelled: keys go to `workers` tasks on the current loop.
///
/// A thrown error sends the key back with growing delay. A conflict is no failure to tell of: the object changed, and the
/// next try sees the change.
public func reconcile<Key: Hashable & Sendable>(
    _ name: String, _ queue: WorkQueue<Key>, workers: Int = 4, log: Log = .shared,
    _ body: @escaping @Sendable (Key) async throws -> ReconcileResult
) async {
    await withTaskGroup(of: Void.self) { group in
        for _ in 0..<workers {
            group.addTask {
                while let key = await queue.next() {
                    do {
                        let result = try await body(key)
                        queue.forget(key)
                        if case .again(let delay) = result { queue.add(key, after: delay) }
                    } catch is CancellationError {
                        queue.done(key)
                        return
                    } catch {
                        let isConflict = (error as? StatusError)?.code == 409
                        if !isConflict || queue.failures(of: key) > 5 {
                            log.warning(
                                "reconcile failed, will retry",
                                ["controller": name, "key": "\(key)", "error": "\(error)"])
                        }
                        queue.addAfterFailure(key)
                    }
                    queue.done(key)
                }
            }
        }
    }
}
