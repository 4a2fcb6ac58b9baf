// weft-cni: the CNI plugin. Environment and standard input in, one answer out; everything else is PodNetwork's.

import Glibc
import PodNetwork

/// Standard input up to the largest configuration; a byte more makes the parser refuse it.
func readConfiguration() -> [UInt8] {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 16 << 10)
    while bytes.count <= CNICall.maximumConfiguration {
        let count = read(STDIN_FILENO, &chunk, chunk.count)
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { break }
        bytes += chunk[..<count]
    }
    return bytes
}

func writeAll(_ bytes: [UInt8]) {
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { exit(1) }
        rest = rest.dropFirst(count)
    }
}

switch CommandLine.arguments.dropFirst().first {
case "--version": writeAll(Array("weft-cni, CNI \(CNIVersion.newest.rawValue)\n".utf8))
case "--help", "-h":
    writeAll(
        Array(
            """
            weft-cni: the CNI plugin of Weft. A container runtime calls it; see the CNI specification 1.1.0.

            It asks the node daemon at the configuration's "socket" (\(CNIConfiguration.defaultSocket)); where no daemon
            runs and the configuration has an "ipam" section with "subnet" or "ranges", it does the work itself.

            """.utf8))
default:
    let call = CNICall(
        environment: { name in getenv(name).map { String(cString: $0) } },
        configuration: isatty(STDIN_FILENO) == 1 ? [] : readConfiguration())
    let reply = CNIPlugin.run(call)
    writeAll(reply.output)
    exit(reply.succeeded ? 0 : 1)
}
