import Reactor

/// A container whose first process waits for the word to begin.
struct CreatedContainer: Sendable {
    var bundle: ContainerBundle
    var pid: Int32

    var id: String { bundle.id }
}

/// Containers that are made while what comes before them becomes ready, so that no more than their start is left to do then.
///
/// A preparation that fails is no more than lost time: the start makes the container from the beginning, and what fails then is told.
extension PodWorker {
    /// One after the other: the sidecar that they wait for needs the processors as well.
    func prepare(_ name: String) {
        let before = preparing
        let work: Task<CreatedContainer?, Never> = Task(executorPreference: context.loop) { [weak self] in
            _ = await before?.value
            return await self?.prepared(name)
        }
        prepared[name] = work
        preparing = work
    }

    private func prepared(_ name: String) async -> CreatedContainer? {
        guard let container = lifecycle.spec.container(named: name), let sandbox = lifecycle.state.sandboxFacts,
            case .present = ImageVerdict(container), lifecycle.state.termination == nil, prepared[name] != nil,
            let bundle = try? await bundle(container, lifecycle.state[name].restartCount, sandbox)
        else { return nil }
        ahead.insert(bundle.id)
        do {
            return try await create(bundle)
        } catch {
            if !Self.isEnding(error) { delete(bundle.id) }
            return nil
        }
    }

    /// The container that was made for this start, if it is as it would be made now: what its environment is read from may have changed
    /// while it waited.
    func takePrepared(_ container: ContainerSpec, _ attempt: Int64) async throws -> CreatedContainer? {
        guard let created = await prepared.removeValue(forKey: container.name)?.value else { return nil }
        do {
            let now = try await environment(of: container)
            let then = created.bundle.environment
            if created.bundle.attempt == attempt, created.bundle.container == container,
                now.elementsEqual(then, by: ==), runtime.process(of: created.id) == created.pid
            {
                return created
            }
            delete(created.id)
            return nil
        } catch {
            delete(created.id)
            throw error
        }
    }

    /// Takes away what was made and is not going to be started. `deletions` counts it until it is gone.
    func discardPrepared() {
        let all = prepared.values
        prepared = [:]
        preparing = nil
        for work in all {
            deletions += 1
            task { worker in
                if let created = await work.value { await worker.delete(created.id) }
                await worker.deletionEnded()
            }
        }
    }
}
