import ClusterAPI
import ClusterClient
import JSON
import Reactor

/// Keeps the EndpointSlices of every Service with a selector in step with its pods.
final class EndpointSliceController: Controller {
    let name = "endpointslice-controller"
    private let context: ControllerContext
    private let services: Informer<KubeObject>
    private let pods: Informer<KubeObject>
    private let slices: Informer<KubeObject>
    private let nodes: Informer<KubeObject>
    private let queue: WorkQueue<ObjectKey>
    private let expectations = Expectations()
    private let recorder: EventRecorder

    init(_ context: ControllerContext) {
        self.context = context
        services = context.informers[.services]
        pods = context.informers[.pods]
        slices = context.informers[.endpointSlices]
        nodes = context.informers[.nodes]
        recorder = context.recorder(name)
        let queue = WorkQueue<ObjectKey>(loop: context.loop)
        self.queue = queue
        wakeOnServices(services, pods, queue)
        let expectations = expectations
        slices.onEvent { event in
            switch event {
            case .added(_, let slice), .updated(_, _, let slice), .deleted(_, let slice):
                guard let service = slice.label("kubernetes.io/service-name"),
                    slice.label("endpointslice.kubernetes.io/managed-by") == EndpointSliceModel.managedBy
                else { return }
                let key = ObjectKey(namespace: slice.namespace, name: service)
                if case .deleted = event {
                    expectations.sawDeletion(slice.uid, of: key)
                } else {
                    expectations.sawCreation(slice.uid, of: key)
                }
                queue.add(key)
            case .synced: break
            }
        }
    }

    func run() async { await reconcile(name, queue, workers: 5, log: context.log, sync) }

    private func sync(_ key: ObjectKey) async throws -> ReconcileResult {
        guard let service = services.get(key), let selector = service.spec["selector"]?.object, !selector.isEmpty,
            service.spec["type"]?.string != "ExternalName"
        else {
            // A Service that is gone takes its slices with it, through its owner reference.
            return .done
        }
        guard !service.isTerminating else { return .done }
        guard expectations.areFulfilled(for: key) else { return .again(after: Expectations.lifetime) }
        let existing = slices.indexed(SharedInformers.byService, "\(key)").filter {
            $0.label("endpointslice.kubernetes.io/managed-by") == EndpointSliceModel.managedBy && !$0.isTerminating
        }
        let wanted = EndpointSliceModel.groups(service, pods: selectedPods(service, pods)) { [nodes] in
            nodes.get(ObjectKey(name: $0))
        }
        let change = EndpointSliceChange(service, wanted: wanted, existing: existing)
        // What is added goes first, so that no consumer sees a Service without its endpoints in between.
        for slice in change.update {
            try await context.client.update(.endpointSlices, slice)
        }
        for slice in change.create {
            let created = try await context.client.create(.endpointSlices, slice)
            expectations.created(created.uid, by: key)
            if slices.get(created.key)?.uid == created.uid { expectations.sawCreation(created.uid, of: key) }
        }
        for slice in change.delete {
            do {
                try await context.client.delete(.endpointSlices, slice.key, uid: slice.uid)
            } catch let error as StatusError where error.code == 404 {}
        }
        return .done
    }
}

/// The pods of a Service's namespace that its selector chooses.
func selectedPods(_ service: KubeObject, _ pods: Informer<KubeObject>) -> [KubeObject] {
    let selector = LabelSelector(matchLabels: service.spec["selector"])
    return pods.indexed(SharedInformers.byNamespace, service.namespace).filter {
        selector.matches($0.json["metadata"]?["labels"])
    }
}

/// Wakes a Service when it changes, and when a pod that it selects, or selected, changes in a way that endpoints show.
func wakeOnServices(_ services: Informer<KubeObject>, _ pods: Informer<KubeObject>, _ queue: WorkQueue<ObjectKey>) {
    services.onEvent { event in
        switch event {
        case .added(let key, _), .updated(let key, _, _), .deleted(let key, _): queue.add(key)
        case .synced: break
        }
    }
    @Sendable func wake(_ pod: KubeObject) {
        for service in services.indexed(SharedInformers.byNamespace, pod.namespace) {
            guard let selector = service.spec["selector"], selector.object?.isEmpty == false else { continue }
            if LabelSelector(matchLabels: selector).matches(pod.json["metadata"]?["labels"]) { queue.add(service.key) }
        }
    }
    pods.onEvent { event in
        switch event {
        case .added(_, let pod), .deleted(_, let pod): wake(pod)
        case .updated(_, let old, let pod):
            wake(pod)
            if old.json["metadata"]?["labels"] != pod.json["metadata"]?["labels"] { wake(old) }
        case .synced: break
        }
    }
}
