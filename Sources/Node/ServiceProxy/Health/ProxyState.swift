import Synchronization

/// What outlives a session with the API server, and what pages show. Any thread.
final class ProxyState: Sendable {
    let health: Mutex<ProxyHealth>

    init(patience: Duration) { health = Mutex(ProxyHealth(patience: patience)) }
}
