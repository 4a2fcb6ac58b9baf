import Bytes
import Reactor

/// Questions to containers and hooks in them.
extension PodWorker {
    func prober(_ name: String) -> Prober? {
        guard let container = lifecycle.spec.container(named: name), let running = lifecycle.state[name].running else {
            return nil
        }
        let address = facts.podIPs.first ?? context.hostIPs.first ?? ""
        return Prober(
            container: container, containerID: running.id, address: address,
            source: IPAddress(address).flatMap { context.probeSource(lifecycle.spec, $0.family) }, loop: context.loop,
            exec: { [runtime] in try await runtime.exec(running.id, $0, timeout: $1) })
    }

    func ask(_ kind: ProbeKind, _ probe: ProbeSpec, of name: String) async {
        guard let prober = prober(name) else { return }
        let answer = await prober.run(probe.action, timeout: .seconds(probe.timeout))
        metrics.probes[kind.rawValue, answer.success ? "successful" : "failed"].increment()
        let reports = lifecycle.probeAnswered(
            name, kind, success: answer.success, output: answer.output, id: prober.containerID, now: .now())
        for report in reports { self.report(report) }
        pump()
    }

    func run(_ hook: PodLifecycle.Hook, _ action: ActionSpec, of name: String) async {
        guard let prober = prober(name) else { return }
        // A preStop that takes longer than the grace period is overtaken by the life cycle; this bound only ends the task.
        let limit: Duration = hook == .preStop ? .seconds(lifecycle.spec.terminationGracePeriod + 2) : .seconds(3600)
        let answer = await prober.run(action, timeout: limit)
        let reports = lifecycle.hookFinished(
            name, hook, error: answer.success ? nil : answer.output, id: prober.containerID, now: .now())
        for report in reports { self.report(report) }
        pump()
    }
}
