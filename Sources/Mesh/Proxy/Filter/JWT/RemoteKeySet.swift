import HTTP
import JSON
import Reactor

/// Where keys are fetched from, and how (`RemoteJwks`).
final class RemoteKeySet: Sendable {
    let target: CallTarget
    let path: [UInt8]
    /// Nanoseconds for which fetched keys are good.
    let cacheDuration: UInt64
    /// Keys are fetched before somebody asks, and again before they are old; a failed fetch is repeated after this, in
    /// nanoseconds.
    let refetchAfterFailure: UInt64?

    init(_ target: CallTarget, path: String, cacheDuration: UInt64, refetchAfterFailure: UInt64?) {
        self.target = target
        self.path = Array(path.utf8)
        self.cacheDuration = cacheDuration
        self.refetchAfterFailure = refetchAfterFailure
    }
}

/// Somebody who waits for keys.
final class KeyWait {
    private var body: (() -> Void)?
    var missing: Int
    init(_ missing: Int, _ body: @escaping () -> Void) {
        self.missing = missing
        self.body = body
    }

    func cancel() { body = nil }

    func one() {
        missing -= 1
        guard missing == 0, let body else { return }
        self.body = nil
        body()
    }
}

/// The keys of one remote set as a worker has them, for as long as a configuration holds the set.
final class FetchedKeys {
    private unowned let worker: ProxyWorker
    private let target: CallTarget
    private let path: [UInt8]
    private let cacheDuration: UInt64
    private var keys: KeySet?
    /// What the last fetch failed with, for those who wait for it.
    private var failure: JWTFailure?
    private var goodUntil: UInt64 = 0
    private var call: Call?
    private var waiting: [KeyWait] = []

    init(_ worker: ProxyWorker, _ remote: RemoteKeySet) {
        self.worker = worker
        (target, path, cacheDuration) = (remote.target, remote.path, remote.cacheDuration)
    }

    deinit { call?.cancel() }

    var state: JWTTrial.KeyState {
        if let keys, worker.now < goodUntil { return .known(keys) }
        if let failure { return .failed(failure) }
        return .awaited
    }

    func wait(_ waiter: KeyWait, _ counters: JWTFilter.Counters) {
        waiting.append(waiter)
        guard call == nil else { return }
        let call = Call(worker, target) { [unowned self] call in ended(call, counters) }
        call.request.setMethod(.get, StaticString("GET").bytes)
        path.withUnsafeBytes { call.request.setPath($0) }
        self.call = call
        call.start()
    }

    private func ended(_ call: Call, _ counters: JWTFilter.Counters) {
        self.call = nil
        do throws(JWTFailure) {
            guard call.outcome == .answered, call.response.status == 200 else { throw .keySetFetch }
            keys = try KeySet(Array(call.answer.bytes))
            goodUntil = worker.now &+ cacheDuration
            worker.count(counters.fetchSucceeded)
        } catch {
            failure = error
            worker.count(counters.fetchFailed)
        }
        let waiters = waiting
        waiting = []
        for waiter in waiters { waiter.one() }
        // Who comes next tries again.
        failure = nil
    }
}

extension ProxyWorker {
    func keys(_ remote: RemoteKeySet) -> JWTTrial.KeyState { fetched(remote).state }

    /// Calls `body` when all of them have been fetched, or could not be.
    func awaitKeys(_ remotes: [RemoteKeySet], _ counters: JWTFilter.Counters, _ body: @escaping () -> Void) -> KeyWait {
        let wait = KeyWait(remotes.count, body)
        for remote in remotes { fetched(remote).wait(wait, counters) }
        return wait
    }

    private func fetched(_ remote: RemoteKeySet) -> FetchedKeys {
        fetchedKeys.value(for: remote) { FetchedKeys(self, remote) }
    }
}
