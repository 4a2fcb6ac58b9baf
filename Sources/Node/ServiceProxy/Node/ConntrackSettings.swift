import Glibc
import Reactor
public import Telemetry

/// The kernel's connection tracking as `conntrack` of a `KubeProxyConfiguration` wants it. What is right already is not
/// written.
public struct ConntrackSettings: Sendable, Equatable {
    /// A kernel parameter, by its name below `net/netfilter/`, and what it should be.
    struct Parameter: Equatable {
        var name: String
        var value: Int
    }

    /// More entries than this are never asked for, however many cores there are.
    static let limit = 1_048_576

    var maximum: Int
    var parameters: [Parameter]

    /// - Parameter cores: how many the machine has.
    public init(_ wish: KubeProxyConfiguration.Conntrack, cores: Int) {
        maximum = wish.maxPerCore > 0 ? Swift.min(Swift.max(wish.maxPerCore * cores, wish.min), Self.limit) : 0
        // Who asks for a high minimum gets it, whatever the limit of what is reckoned.
        if maximum > 0 { maximum = Swift.max(maximum, wish.min) }
        parameters = []
        func seconds(_ duration: Duration, _ name: String) {
            let value = Int(duration.components.seconds)
            if value > 0 { parameters.append(Parameter(name: name, value: value)) }
        }
        seconds(wish.tcpEstablishedTimeout, "nf_conntrack_tcp_timeout_established")
        seconds(wish.tcpCloseWaitTimeout, "nf_conntrack_tcp_timeout_close_wait")
        if wish.tcpBeLiberal { parameters.append(Parameter(name: "nf_conntrack_tcp_be_liberal", value: 1)) }
        seconds(wish.udpTimeout, "nf_conntrack_udp_timeout")
        seconds(wish.udpStreamTimeout, "nf_conntrack_udp_timeout_stream")
    }

    /// Writes what differs, in the network namespace of the process.
    ///
    /// - Parameters:
    ///   - kernel: `/proc/sys/net/netfilter`; another folder for tests.
    ///   - module: `/sys/module/nf_conntrack/parameters`; another folder for tests.
    /// - Returns: what could not be set, as sentences; services work without.
    public func apply(
        kernel: String = "/proc/sys/net/netfilter", module: String = "/sys/module/nf_conntrack/parameters",
        log: Log = .shared
    ) -> [String] {
        var failures: [String] = []
        for parameter in parameters {
            do {
                if try Self.set("\(kernel)/\(parameter.name)", parameter.value) {
                    log.info("conntrack is set", ["parameter": parameter.name, "value": "\(parameter.value)"])
                }
            } catch {
                failures.append("\(parameter.name) is not \(parameter.value): \(error)")
            }
        }
        guard maximum > 0 else { return failures }
        do {
            if try Self.set("\(kernel)/nf_conntrack_max", maximum) {
                log.info("conntrack is set", ["parameter": "nf_conntrack_max", "value": "\(maximum)"])
            }
            // The buckets are one table for all namespaces of the machine: whoever may not set the maximum leaves them.
            if Self.isWritable("\(kernel)/nf_conntrack_max"), try Self.read("\(module)/hashsize") < maximum / 4 {
                try Files.writeInPlace("\(module)/hashsize", String(maximum / 4))
                log.info("conntrack is set", ["parameter": "hashsize", "value": "\(maximum / 4)"])
            }
        } catch {
            failures.append("nf_conntrack_max is not \(maximum): \(error); conntrack.maxPerCore: 0 leaves it alone")
        }
        return failures
    }

    /// Whether it had to be written.
    private static func set(_ path: String, _ value: Int) throws -> Bool {
        guard try read(path) != value else { return false }
        try Files.writeInPlace(path, String(value))
        return true
    }

    private static func read(_ path: String) throws -> Int {
        let text = try Files.readText(path, limit: 64)
        guard let value = Int(text.prefix { $0.isNumber }) else {
            throw SystemError(errno: EILSEQ, call: "read a number from", subject: path)
        }
        return value
    }

    private static func isWritable(_ path: String) -> Bool { access(path, W_OK) == 0 }
}
