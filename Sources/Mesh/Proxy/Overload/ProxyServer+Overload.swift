extension ProxyServer {
    /// Sees to what the bootstrap's `overload_manager` says.
    func watchOverload() async {
        let (settings, workers) = (context.overload, workers)
        await onDirectory { directory in
            directory.overload?.close()
            directory.overload = settings.map { OverloadMonitor($0, on: directory.loop, workers) }
            if directory.overload == nil {
                for worker in workers { worker.loop.submit { worker.overload = .none } }
            }
            directory.overload?.start()
        }
    }

    func reportOverload(to report: inout StatReport) async {
        let clusters = clusters
        let own = try? await clusters.loop.perform {
            var report = StatReport()
            clusters.overload?.report(to: &report)
            return report
        }
        report.samples += own?.samples ?? []
    }
}
