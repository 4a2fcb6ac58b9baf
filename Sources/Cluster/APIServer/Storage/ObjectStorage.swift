import ClusterAPI
import JSON
import Store
import Synchronization

/// Objects in the store: keys from names, the store's refusals in the API's words, and one feed a resource for watchers.
final class ObjectStorage: Sendable {
    let store: any Store
    private let feeds = Mutex<[String: ResourceFeed]>([:])

    init(store: any Store) { self.store = store }

    var currentRevision: Revision { store.currentRevision }

    // MARK: Reading

    func find(_ resource: ResourceDescription, _ key: ObjectKey) async throws(StatusError) -> StoredObject? {
        do {
            return try await store.get(resource.storageKey(key)).map { StoredObject($0) }
        } catch {
            throw Self.status(error, resource, key.name)
        }
    }

    func get(_ resource: ResourceDescription, _ key: ObjectKey) async throws(StatusError) -> StoredObject {
        guard let found = try await find(resource, key) else { throw .notFound(resource.gvr, key.name) }
        return found
    }

    /// Every object of a resource, or of one namespace, as values.
    func all(_ resource: ResourceDescription, namespace: String = "") async throws(StatusError) -> [JSONValue] {
        do {
            let range = try await store.range(prefix: resource.storagePrefix(in: namespace))
            var objects: [JSONValue] = []
            for value in range.values { objects.append(try StoredObject(value).json()) }
            return objects
        } catch let error as StatusError {
            throw error
        } catch {
            throw Self.status(error as? StoreError ?? .closed, resource, "")
        }
    }

    // MARK: Writing

    /// - Throws: `alreadyExists`.
    func create(
        _ resource: ResourceDescription, _ key: ObjectKey, _ object: StoredObject
    ) async throws(StatusError) -> StoredObject {
        do {
            return StoredObject(try await store.create(resource.storageKey(key), object.bytes))
        } catch {
            throw Self.status(error, resource, key.name)
        }
    }

    /// Writes over what was read; nil when somebody else has written or removed it since.
    func update(
        _ resource: ResourceDescription, _ key: ObjectKey, _ object: StoredObject, over read: Revision
    ) async throws(StatusError) -> StoredObject? {
        do {
            return StoredObject(try await store.update(resource.storageKey(key), object.bytes, expecting: read))
        } catch .conflict {
            return nil
        } catch {
            throw Self.status(error, resource, key.name)
        }
    }

    /// Removes what was read, and returns it under the removal's revision; nil when it has changed since.
    func delete(
        _ resource: ResourceDescription, _ key: ObjectKey, read: Revision
    ) async throws(StatusError) -> StoredObject? {
        do {
            let gone = try await store.delete(resource.storageKey(key), expecting: read)
            return StoredObject(gone.removed, as: gone.revision)
        } catch .conflict {
            return nil
        } catch {
            throw Self.status(error, resource, key.name)
        }
    }

    // MARK: Watching

    /// The feed of a resource, made when the first watcher comes.
    func feed(_ resource: ResourceDescription) throws(StatusError) -> ResourceFeed {
        if let feed = feeds.withLock({ $0[resource.storagePrefix] }) { return feed }
        let made: ResourceFeed
        do {
            made = try ResourceFeed(prefix: resource.storagePrefix, store: store)
        } catch {
            throw Self.status(error, resource, "")
        }
        return feeds.withLock { feeds in
            if let other = feeds[resource.storagePrefix] { return other }
            feeds[resource.storagePrefix] = made
            return made
        }
    }

    // MARK: Refusals

    static func status(_ error: StoreError, _ resource: ResourceDescription, _ name: String) -> StatusError {
        switch error {
        case .exists: .alreadyExists(resource.gvr, name)
        case .conflict(nil): .notFound(resource.gvr, name)
        case .conflict: .conflict(resource.gvr, name)
        case .compacted:
            .expired("The provided resource version is too old to be served: its history has been compacted")
        case .futureRevision(let asked, let current):
            .resourceVersionTooLarge(asked.rawValue, current: current.rawValue)
        case .tooLarge(_, let limit): .requestEntityTooLarge(limit: limit)
        case .overloaded: .tooManyRequests("\(error)", retryAfterSeconds: 1)
        case .full(let text): .serviceUnavailable(text)
        case .closed: .serviceUnavailable("the server is shutting down")
        case .failed(let text), .unusable(let text): .internalError(text)
        }
    }
}
