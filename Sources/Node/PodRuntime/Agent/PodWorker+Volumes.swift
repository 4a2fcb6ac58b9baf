import Bytes
import ClusterAPI
import Reactor

/// Content of volumes: fetched before the first container, kept fresh while they run.
extension PodWorker {
    func prepareVolumes() async throws {
        let spec = lifecycle.spec
        guard !spec.volumes.isEmpty else { return }
        try await publishDrivenVolumes()
        if let at = volumes.refreshedAt, Timestamp.now() - at < Self.volumeRefresh { return }
        try await refreshVolumes()
        guard volumes.refresh == nil,
            spec.volumes.contains(where: { if case .files = $0.source { true } else { false } })
        else {
            return
        }
        volumes.refresh = task { await $0.keepVolumesFresh() }
    }

    /// Volumes that drivers of this node fill.
    func publishDrivenVolumes() async throws {
        let mounts = PodVolumes(paths: context.paths, pod: lifecycle.spec)
        for volume in lifecycle.spec.volumes {
            guard case .driven(let name) = volume.source, let folder = mounts.path(of: volume.name) else { continue }
            guard let driver = context.volumeDrivers.first(where: { $0.name == name }) else {
                throw PodVolumes.Failure(
                    volume: volume.name, reason: "driver name \(name) not found in the list of registered CSI drivers")
            }
            do {
                try await offLoop { try Directory.make(folder) }
                try await driver.publish(lifecycle.spec, folder: folder)
            } catch {
                throw PodVolumes.Failure(volume: volume.name, reason: "\(error)")
            }
        }
    }

    /// Drivers forget the pod.
    func unpublishDrivenVolumes() async {
        for volume in lifecycle.spec.volumes {
            guard case .driven(let name) = volume.source else { continue }
            await context.volumeDrivers.first { $0.name == name }?.unpublish(identity)
        }
    }

    func keepVolumesFresh() async {
        while !isTornDown, !Task.isCancelled {
            // Spread, so that the pods of a node do not all ask at once.
            let delay = Self.volumeRefresh * Double.random(in: 0.8..<1)
            do { try await context.loop.sleep(for: delay) } catch { return }
            guard lifecycle.state.termination == nil else { continue }
            do {
                try await refreshVolumes()
            } catch {
                log.warning("volume not refreshed", ["pod": "\(identity.key)", "error": "\(error)"])
            }
        }
    }

    func refreshVolumes() async throws {
        let spec = lifecycle.spec
        let now = Timestamp.now()
        var objects: [String: VolumePayload.Objects] = [:]
        for volume in spec.volumes {
            guard case .files(let sources, _) = volume.source else { continue }
            var found = VolumePayload.Objects()
            for source in sources {
                switch source {
                case .configMap(let name, _, _):
                    let object = try await context.objects.configMap(
                        ObjectKey(namespace: identity.namespace, name: name))
                    found.configMaps[name] = object.map { VolumePayload.content($0, isSecret: false) }
                case .secret(let name, _, _):
                    let object = try await context.objects.secret(ObjectKey(namespace: identity.namespace, name: name))
                    found.secrets[name] = object.map { VolumePayload.content($0, isSecret: true) }
                case .downward: break
                case .token(let path, let audience, let expiration):
                    let key = "\(volume.name)/\(path)"
                    if let known = volumes.tokens[key], now < known.renewAt {
                        found.tokens[path] = known.text
                    } else {
                        let text = try await context.objects.token(
                            for: spec, audience: audience, expiration: expiration)
                        // Renewed when a fifth of its life is left.
                        volumes.tokens[key] = (text, now.adding(seconds: expiration / 5 * 4))
                        found.tokens[path] = text
                    }
                }
            }
            objects[volume.name] = found
        }
        let (mounts, facts, capacity, found) = (
            PodVolumes(paths: context.paths, pod: spec), facts, context.capacity, objects
        )
        let stamp = now.rfc3339Nano
        try await offLoop { try mounts.setUp(found, facts: facts, capacity: capacity, stamp: stamp) }
        volumes.refreshedAt = now
    }
}
