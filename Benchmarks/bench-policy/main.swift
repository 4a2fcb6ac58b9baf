// bench-policy: what NetworkPolicies cost a node: a cluster's load, one change, and each packet. In namespaces of its own.
//
//   bench-policy [scale | packets] [--pods N] [--policies N] [--local N] [--rounds N] [--milliseconds N]

import Glibc

func number(_ name: String, _ standard: Int) -> Int {
    let words = CommandLine.arguments
    guard let place = words.firstIndex(of: name), place + 1 < words.count else { return standard }
    guard let value = Int(words[place + 1]), value > 0 else {
        print("\(name) takes a number above 0")
        exit(2)
    }
    return value
}

let subjects = CommandLine.arguments.dropFirst().filter { ["scale", "packets"].contains($0) }
do {
    if subjects.isEmpty || subjects.contains("scale") {
        try ScaleBenchmark(
            pods: number("--pods", 5000), policies: number("--policies", 1000), local: number("--local", 110)
        ).run()
    }
    if subjects.isEmpty || subjects.contains("packets") {
        try PacketBenchmark(rounds: number("--rounds", 60), seconds: Double(number("--milliseconds", 100)) / 1000).run()
    }
} catch {
    print("bench-policy: \(error)")
    exit(1)
}
