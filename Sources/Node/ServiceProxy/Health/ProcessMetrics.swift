import Bytes
import Glibc
import Reactor
public import Telemetry

/// What Prometheus' own clients tell of a process, read from `/proc/self` when asked.
public enum ProcessMetrics {
    public static func register(in registry: MetricsRegistry) {
        func value(_ name: String, _ help: String, _ kind: String, _ read: @escaping @Sendable () -> Double?) {
            registry.collect("process_" + name, help, kind: kind) {
                read().map { [MetricsRegistry.Sample([], $0)] } ?? []
            }
        }
        let ticks = Double(sysconf(CInt(_SC_CLK_TCK)))
        let page = Double(sysconf(CInt(_SC_PAGESIZE)))
        value("cpu_seconds_total", "User and system time", "counter") {
            stat().map { ($0[11] + $0[12]) / ticks }
        }
        value("virtual_memory_bytes", "Size of the address space", "gauge") { stat()?[20] }
        value("resident_memory_bytes", "Memory that is in use", "gauge") { stat().map { $0[21] * page } }
        let start = startTime(ticks)
        value("start_time_seconds", "When the process began, since 1970", "gauge") { start }
        value("open_fds", "Open descriptors", "gauge") { (try? Files.list("/proc/self/fd")).map { Double($0.count) } }
        value("max_fds", "Descriptors that may be open", "gauge") {
            var limit = rlimit()
            return getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 ? Double(limit.rlim_cur) : nil
        }
    }

    /// The numbers of `/proc/self/stat` behind the program's name, which may hold anything.
    private static func stat() -> [Double]? {
        guard let text = try? Files.readText("/proc/self/stat", limit: 4096),
            let end = text.lastIndex(of: ")")
        else { return nil }
        let fields = text[end...].dropFirst().split(separator: " ").map { Double($0) ?? 0 }
        return fields.count > 21 ? fields : nil
    }

    private static func startTime(_ ticks: Double) -> Double? {
        guard let ownStart = stat()?[19], let text = try? Files.readText("/proc/stat", limit: 1 << 20),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix("btime ") }),
            let boot = Double(line.dropFirst(6))
        else { return nil }
        return boot + ownStart / ticks
    }
}
