import Glibc
import Reactor

/// What one piece of work took of this process.
struct Measurement {
    var milliseconds: Double
    var cpuMilliseconds: Double
}

func measured(_ body: () throws -> Void) rethrows -> Measurement {
    func cpu() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000
            + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000
    }
    let (start, before) = (ContinuousClock.now, cpu())
    try body()
    let milliseconds = (ContinuousClock.now - start).milliseconds
    return Measurement(milliseconds: milliseconds, cpuMilliseconds: cpu() - before)
}

/// Resident memory of a process.
func residentMegabytes(of process: String = "self") -> Double {
    let pages = (try? Files.readText("/proc/\(process)/statm"))?.split(separator: " ").dropFirst().first.flatMap {
        Double($0)
    }
    return (pages ?? 0) * Double(sysconf(CInt(_SC_PAGESIZE))) / 1e6
}

/// Processor time of all threads of a process so far, ms.
func processorMilliseconds(of process: Int32) -> Double {
    let tasks = (try? Files.list("/proc/\(process)/task")) ?? []
    return tasks.reduce(0) { sum, task in
        let text = (try? Files.readText("/proc/\(process)/task/\(task)/schedstat")) ?? ""
        return sum + (text.split(separator: " ").first.flatMap { Double($0) } ?? 0) / 1e6
    }
}

func percentile(_ values: [Double], _ part: Double) -> Double {
    let sorted = values.sorted()
    return sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int(Double(sorted.count) * part))]
}

func text(_ value: Double) -> String { "\((value * 100).rounded() / 100)" }

/// Progress goes where it does not disturb the table.
func note(_ text: String) {
    Array("bench-service-proxy: \(text)\n".utf8).withUnsafeBytes { _ = write(2, $0.baseAddress, $0.count) }
}

extension Duration {
    var milliseconds: Double { Double(components.seconds) * 1e3 + Double(components.attoseconds) / 1e15 }
}

struct BenchmarkError: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}
