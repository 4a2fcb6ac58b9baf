import Bytes
import ClusterAPI
import Netlink
import ServiceProxy

/// The proxy without its surroundings: objects as values in, until the kernel's acknowledgement.
enum MechanismBenchmark {
    static func run(_ load: Load) throws -> Row {
        let namespace = try NamespaceHandle.create()
        var configuration = ServiceProxyConfiguration(node: NodeIdentity(name: "node-1"))
        configuration.families = [.v4]
        func decoded() -> [(ServiceSpec?, EndpointSliceSpec?)] {
            (0..<load.services).map { number in
                (
                    ServiceSpec(load.service(number)),
                    EndpointSliceSpec(load.slice(number, endpoints: load.endpoints), on: configuration.node)
                )
            }
        }
        func fill(_ proxy: ServiceProxy, _ objects: [(ServiceSpec?, EndpointSliceSpec?)]) {
            for (service, slice) in objects {
                if let service { proxy.set(service) }
                if let slice { proxy.set(slice) }
            }
        }
        var proxy: ServiceProxy? = try ServiceProxy(configuration, namespace: namespace.descriptor)
        if let proxy { fill(proxy, decoded()) }
        var elements = 0
        let full = try measured { elements = try proxy?.sync().elementWrites ?? 0 }
        let memory = residentMegabytes()

        // One Service's endpoints change by one, up and down; and one Service comes and goes.
        var changes: [Measurement] = []
        for round in 0..<200 {
            let number = round * 37 % load.services
            changes.append(
                try measured {
                    if round % 4 < 2 {
                        let count = round % 2 == 0 ? load.endpoints + 1 : load.endpoints
                        let number = (round / 2) * 37 % load.services
                        if let spec = EndpointSliceSpec(load.slice(number, endpoints: count), on: configuration.node) {
                            proxy?.set(spec)
                        }
                    } else if round % 4 == 2 {
                        proxy?.removeService(Load.key(number))
                    } else if let spec = ServiceSpec(load.service((round - 1) * 37 % load.services)) {
                        proxy?.set(spec)
                    }
                    try proxy?.sync()
                })
        }
        let burst = try measured {
            for number in 0..<min(1000, load.services) {
                if let spec = EndpointSliceSpec(
                    load.slice(number, endpoints: load.endpoints - 1), on: configuration.node)
                {
                    proxy?.set(spec)
                }
            }
            try proxy?.sync()
        }
        for number in 0..<min(1000, load.services) {
            if let spec = EndpointSliceSpec(load.slice(number, endpoints: load.endpoints), on: configuration.node) {
                proxy?.set(spec)
            }
        }
        try proxy?.sync()

        // As a daemon that starts again: objects are in memory, the table is read and compared.
        proxy = nil
        let objects = decoded()
        var writes = 0
        var again: ServiceProxy?
        let adoption = try measured {
            again = try ServiceProxy(configuration, namespace: namespace.descriptor)
            if let again { fill(again, objects) }
            writes = try again?.sync().elementWrites ?? -1
        }
        try again?.removeTables()
        let times = changes.map(\.milliseconds)
        return Row(cells: [
            ("program", "mechanism"), ("load", load.name), ("elements", "\(elements)"),
            ("full sync ms", text(full.milliseconds)),
            ("cpu ms", text(full.cpuMilliseconds)), ("change p50 ms", text(percentile(times, 0.5))),
            ("p99 ms", text(percentile(times, 0.99))),
            ("cpu ms/change", text(changes.map(\.cpuMilliseconds).reduce(0, +) / Double(changes.count))),
            ("burst 1000 ms", text(burst.milliseconds)), ("restart ms", text(adoption.milliseconds)),
            ("restart cpu ms", text(adoption.cpuMilliseconds)),
            ("restart writes", "\(writes)"), ("resident MB", text(memory)),
        ])
    }
}
