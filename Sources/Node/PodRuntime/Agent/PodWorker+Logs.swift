import Reactor

/// Log files of the pod's containers.
extension PodWorker {
    /// Puts long log files aside.
    func rotateLogs(stamp: String) {
        for (name, container) in lifecycle.state.containers {
            guard let running = container.running else { continue }
            let file = context.paths.logFile(identity, name, attempt: container.restartCount)
            do {
                if try LogRotation.rotate(file, stamp: stamp) { try runtime.reopenLog(running.id) }
            } catch {
                log.warning("log not rotated", ["file": file, "error": "\(error)"])
            }
        }
    }

    /// Why a container has no log yet; nil where it has, or had, one, or none is known by that name.
    func waits(_ name: String) -> String? {
        guard let container = lifecycle.spec.container(named: name) else { return nil }
        let own = lifecycle.state[name]
        guard own.phase == .idle, own.lastExit == nil else { return nil }
        return lifecycle.isInitializing(for: container) ? "PodInitializing" : "ContainerCreating"
    }

    /// The file that holds a container's log, and whether more may come; nil when the container has no such run.
    func logFile(of name: String, previous: Bool) -> (path: String, isLive: Bool)? {
        guard lifecycle.spec.container(named: name) != nil else { return nil }
        let own = lifecycle.state[name]
        let attempt = own.restartCount - (previous ? 1 : 0)
        guard attempt >= 0 else { return nil }
        return (context.paths.logFile(identity, name, attempt: attempt), !previous && own.isActive)
    }
}
