// bench-pod-start: what a sidecar adds to a pod's start, from its creation at the API server to its Ready condition there. A cluster of
// `weft up` with one node, in namespaces of its own; pods without and with a sidecar in turn.
//
//   bench-pod-start [--pods N] [--json]

import Glibc
import Reactor

let options = Options(CommandLine.arguments)
// A machine of its own: `weft up` makes bridges and namespaces by name.
if getenv("WEFT_BENCH_INSIDE") == nil {
    setenv("WEFT_BENCH_INSIDE", "1", 1)
    let prepare =
        "mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip link set lo up && exec /proc/self/fd/9 \"$@\""
    let own = open("/proc/self/exe", O_RDONLY)
    guard own >= 0, dup2(own, 9) == 9 else { exit(1) }
    let shell = ["unshare", "--net", "--mount", "sh", "-c", prepare, "bench-pod-start"]
    let words = shell + CommandLine.arguments.dropFirst()
    var pointers = words.map { strdup($0) } + [nil]
    execvp("unshare", &pointers)
    exit(127)
}

let status = runOnLoops(threads: 1) { group in
    let cluster = try BenchCluster(on: group.all[0])
    do {
        try await cluster.start()
        try await PodStart(cluster, options).run()
    } catch {
        await cluster.stop()
        throw error
    }
    await cluster.stop()
}
exit(status)
