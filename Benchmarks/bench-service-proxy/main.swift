// What the service proxy costs at size: loading, changing, restarting, remembering, connecting. The mechanism alone, the whole
// daemon beside an API server, and, where its path is given, kube-proxy on the same objects. Works in network namespaces
// of its own, one process for each subject and size, so that memory is its own.

import Glibc
import Reactor

let options: Options
do {
    options = try Options(CommandLine.arguments)
} catch {
    print("\(error)\n\n\(Options.usage)")
    exit(2)
}

if let (subject, load) = options.single {
    do {
        let rows: [Row]
        switch subject {
        case .mechanism: rows = [try MechanismBenchmark.run(load)]
        case .weftNode:
            try BenchNetwork.enter()
            rows = try await DaemonBenchmark.run(load, .weftNode(path: options.weftNode))
        case .kubeProxy:
            try BenchNetwork.enter()
            rows = try await DaemonBenchmark.run(load, .kubeProxy(path: options.kubeProxy ?? "kube-proxy"))
        }
        for row in rows { print(options.asJSON ? row.json : row.text) }
        exit(0)
    } catch {
        note("\(error)")
        exit(1)
    }
}

for load in options.loads {
    for subject in options.subjects {
        note("\(subject.rawValue) at \(load.name)")
        guard system(options.command(subject, load)) == 0 else { exit(1) }
    }
}
