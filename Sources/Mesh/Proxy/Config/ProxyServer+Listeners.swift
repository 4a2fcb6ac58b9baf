import Reactor

// Listeners as they come, change and go: each warms until the routes and secrets that it names are there.
extension ProxyServer {
    func listen(_ snapshot: ListenerSnapshot) async throws {
        try snapshot.checkAddresses(against: Array(served.values) + Array(warmingListeners.values))
        // An address that cannot be had is told now, not when the routes have come.
        if !isWarm(snapshot) { try await tryToBind(snapshot) }
        guard isWarm(snapshot), opening[snapshot.name] == nil else {
            warmingListeners[snapshot.name] = snapshot
            return
        }
        warmingListeners[snapshot.name] = nil
        try await open(snapshot)
        // A newer one may have come while this one was bound.
        if warmingListeners[snapshot.name] != nil { await openWarmListeners() }
    }

    /// Stops to serve there, also where it was just about to begin.
    func removeListener(_ name: String) async {
        warmingListeners[name] = nil
        opening[name] = nil
        served[name] = nil
        let made = listeners.removeValue(forKey: name) ?? []
        listenerChanges.stopped += UInt64(made.count)
        await retire(made)
    }

    private func tryToBind(_ snapshot: ListenerSnapshot) async throws {
        if served[snapshot.name]?.hasSocketsOf(snapshot) == true { return }
        do { try await workers[0].loop.perform { try ProxyListener.tryToBind(snapshot) } } catch {
            throw refused(snapshot, error)
        }
    }

    /// Says why a listener cannot have its address.
    private func refused(_ snapshot: ListenerSnapshot, _ error: any Error) -> any Error {
        guard let error = error as? SystemError else { return error }
        let refusal = ListenerRefusal.system(error)
        listenerChanges.creationFailures += 1
        ProxyLog.error(.config, "listener '\(snapshot.name)' failed to bind or apply socket options: \(refusal)")
        return refusal
    }

    private func isWarm(_ snapshot: ListenerSnapshot) -> Bool {
        context.routes.areReady(snapshot.namedRoutes) && context.extensions.areReady(snapshot.awaitedFilters)
            && snapshot.liveContexts.allSatisfy(\.isReady)
            && references.areHere(.listener(snapshot.name))
    }

    /// Those whose routes and secrets have come serve from now on.
    func openWarmListeners() async {
        for snapshot in warmingListeners.values.sorted(by: { $0.name < $1.name })
        where warmingListeners[snapshot.name] === snapshot && opening[snapshot.name] == nil
            && isWarm(snapshot)
        {
            warmingListeners[snapshot.name] = nil
            do { try await open(snapshot) } catch {
                record.noteRefused(.listener)
                problems.report("\(error)")
            }
        }
        tellListenersAreWarm()
    }

    func tellListenersAreWarm() {
        guard warmingListeners.isEmpty, opening.isEmpty else { return }
        let told = listenersAreWarm
        listenersAreWarm = []
        for promise in told { promise.succeed(()) }
    }

    /// Returns when every listener serves, or has been refused.
    func warmListeners() async {
        guard !warmingListeners.isEmpty || !opening.isEmpty else { return }
        let promise = Promise<Void>()
        listenersAreWarm.append(promise)
        try? await promise.value()
    }

    private func open(_ snapshot: ListenerSnapshot) async throws {
        try await bind(snapshot)
        guard demandOrigin != nil else { return }
        let clusters = clusters
        clusters.loop.submit { clusters.onDemandListeners.came(snapshot.name) }
    }

    private func bind(_ snapshot: ListenerSnapshot) async throws {
        opening[snapshot.name] = snapshot
        defer {
            if opening[snapshot.name] === snapshot { opening[snapshot.name] = nil }
            tellListenersAreWarm()
        }
        let present = listeners[snapshot.name]
        if let present, served[snapshot.name]?.hasSocketsOf(snapshot) == true {
            let isInPlace = served[snapshot.name]?.fingerprint == snapshot.fingerprint
            served[snapshot.name] = snapshot
            for (worker, listener) in zip(workers, present) {
                await worker.perform { _ in listener.value.update(snapshot) }
            }
            if isInPlace {
                listenerChanges.updatesInPlace += 1
            } else {
                listenerChanges.creations += UInt64(workers.count)
            }
            return
        }
        var made: [ProxyListenerReference] = []
        do {
            for worker in workers {
                // Where the kernel chose the port, it stays the same.
                var shared = made.isEmpty ? try await bound(present?.first, snapshot) : []
                if let first = made.first { shared = try await workers[0].loop.perform { try first.value.share() } }
                made.append(
                    try await worker.loop.perform { [shared] in
                        ProxyListenerReference(try ProxyListener(worker, snapshot, shared))
                    })
            }
        } catch {
            await retire(made)
            throw refused(snapshot, error)
        }
        // It was taken away meanwhile.
        guard opening[snapshot.name] === snapshot else { return await retire(made) }
        listeners[snapshot.name] = made
        served[snapshot.name] = snapshot
        listenerChanges.creations += UInt64(made.count)
        // Only now: at no moment does nobody listen.
        if let present {
            listenerChanges.stopped += UInt64(present.count)
            await retire(present)
        }
    }

    /// Where another listener with the same addresses is to bind: beside the present one.
    private func bound(_ present: ProxyListenerReference?, _ next: ListenerSnapshot) async throws -> [SharedSocket] {
        guard let present, let worker = workers.first else { return [] }
        return try await worker.loop.perform {
            let snapshot = present.value.snapshot
            guard snapshot.addresses == next.addresses, snapshot.sockets.allSatisfy(\.reusesPort),
                next.sockets.allSatisfy(\.reusesPort), snapshot.addresses.allSatisfy({ $0.endpoint != nil })
            else { return [] }
            return present.value.addresses.map { .address($0) }
        }
    }

    /// Takes no more connections there, and drains those that there are.
    func retire(_ made: [ProxyListenerReference]) async {
        // First all of them, so that none hands a connection to one that is closed.
        for (worker, listener) in zip(workers, made) { await worker.perform { _ in listener.value.leaveBalance() } }
        for (worker, listener) in zip(workers, made) {
            await worker.perform { _ in listener.value.retire() }
        }
    }
}
