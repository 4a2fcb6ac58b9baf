import Glibc

/// A program's main: starts `threads` loops (0: one a core), runs `main` as a task on the first, which is the calling
/// thread, and answers the exit status: 0, or 1 when `main` threw (its error goes to stderr).
///
/// SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGUSR2 are blocked in all threads for `Signals` to receive, and the soft limit of descriptors is raised to the hard one.
public func runOnLoops(
    threads: Int = 0, _ main: @escaping @Sendable (EventLoopGroup) async throws -> Void
) -> CInt {
    Signals.block(Signals.usual)
    raiseDescriptorLimit()
    do {
        let group = try EventLoopGroup(count: threads, name: "loop", callerRunsFirst: true)
        let first = group.all[0]
        let outcome = Promise<Void>()
        first.task {
            do {
                try await main(group)
                outcome.succeed(())
            } catch {
                outcome.fail(error)
            }
            for loop in group.all { loop.stop() }
        }
        first.run()
        if case .failure(let error)? = outcome.result { throw error }
        return 0
    } catch {
        let line = "error: \(error)\n"
        _ = Array(line.utf8).withUnsafeBytes { Glibc.write(2, $0.baseAddress, $0.count) }
        return 1
    }
}

/// Raises the soft limit of open descriptors to the hard one, as servers must; answers the limit that holds then.
@discardableResult
public func raiseDescriptorLimit() -> Int {
    var limit = rlimit()
    guard getrlimit(CInt(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
    limit.rlim_cur = limit.rlim_max
    setrlimit(CInt(RLIMIT_NOFILE.rawValue), &limit)
    getrlimit(CInt(RLIMIT_NOFILE.rawValue), &limit)
    return Int(clamping: limit.rlim_cur)
}
