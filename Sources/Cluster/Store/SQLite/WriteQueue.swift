import Glibc

/// Where writers leave their requests and the committing thread takes all of them at once.
///
/// @unchecked: every access to `waiting` and `isClosed` holds `mutex`.
final class WriteQueue<Request: Sendable>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let arrival = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var waiting: [Request] = []
    private var isClosed = false
    private var isNudged = false
    private let capacity: Int

    /// - Parameter capacity: requests that may wait; `put` refuses beyond.
    init(capacity: Int) {
        self.capacity = capacity
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(arrival, nil)
    }

    deinit {
        pthread_cond_destroy(arrival)
        pthread_mutex_destroy(mutex)
        arrival.deallocate()
        mutex.deallocate()
    }

    func put(_ request: Request) throws(StoreError) {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        guard !isClosed else { throw .closed }
        guard waiting.count < capacity else { throw .overloaded }
        waiting.append(request)
        if waiting.count == 1 { pthread_cond_signal(arrival) }
    }

    /// Makes `take` return, if only with nothing.
    func nudge() {
        pthread_mutex_lock(mutex)
        isNudged = true
        pthread_cond_signal(arrival)
        pthread_mutex_unlock(mutex)
    }

    /// Refuses what comes later; what waits is still taken.
    func close() {
        pthread_mutex_lock(mutex)
        isClosed = true
        pthread_cond_signal(arrival)
        pthread_mutex_unlock(mutex)
    }

    /// Waits for requests and takes all of them; nil once closed and empty.
    func take() -> [Request]? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while waiting.isEmpty, !isClosed, !isNudged { pthread_cond_wait(arrival, mutex) }
        isNudged = false
        if waiting.isEmpty { return isClosed ? nil : [] }
        var taken: [Request] = []
        swap(&taken, &waiting)
        return taken
    }
}
