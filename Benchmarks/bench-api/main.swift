// What the API server and its store take and give: durable creates with eight writers over TLS, the way from a write to a
// watcher, and resident memory. The peer is Debian's etcd, which keeps the same promise under Kubernetes' own server: each
// acknowledged write is synced. Everything runs on one machine, clients included.

import Bytes
import Glibc
import HTTP
import JSON
import Reactor
import Store
import TLS

let writers = 8
let valueBytes = 1024
let roundTime = Duration.seconds(CommandLine.arguments.contains("--quick") ? 1 : 4)
let rounds = CommandLine.arguments.contains("--quick") ? 1 : 3
let asJSON = CommandLine.arguments.contains("--json")

exit(
    runOnLoops(threads: 2) { group in
        var table = ResultTable()
        for round in 1...rounds {
            note("round \(round) of \(rounds)")
            try await benchStore(&table)
            try await benchAPI(group, &table)
            try await benchEtcd(group, &table)
        }
        print(asJSON ? table.json : table.text)
    })

/// Progress goes where it does not disturb the table.
func note(_ text: String) {
    let line = "bench-api: \(text)\n"
    _ = line.withCString { write(2, $0, strlen($0)) }
}
