import Glibc
import Reactor

/// A line that is seen at once, also through a pipe.
func say(_ line: String) {
    print(line)
    fflush(nil)
}

/// What goes on, for who waits for it.
func note(_ line: String) {
    let text = Array("# \(line)\n".utf8)
    _ = text.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
}

/// Seconds of CPU that this process has used.
func processSeconds() -> Double { seconds(CLOCK_PROCESS_CPUTIME_ID) }

/// Seconds; the same in all processes of a machine.
func monotonic() -> Double { seconds(CLOCK_MONOTONIC) }

private func seconds(_ clock: clockid_t) -> Double {
    var time = timespec()
    clock_gettime(clock, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// Resident kilobytes of a process that no file backs.
func residentKilobytes(_ process: Int32 = getpid()) -> Int {
    if process == getpid() { Heap.giveBack() }
    let text = (try? Files.readText("/proc/\(process)/smaps_rollup")) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("Anonymous:") } ?? ""
    return Int(line.filter(\.isNumber)) ?? 0
}

extension [Double] {
    /// - Parameter share: 0.5 is the median.
    func quantile(_ share: Double) -> Double {
        guard !isEmpty else { return .nan }
        return sorted()[Swift.min(count - 1, Int(Double(count) * share))]
    }
}

/// A figure with its name.
struct Row {
    var name: String
    var value: Double
    var unit: String

    init(_ name: String, _ value: Double, _ unit: String) { (self.name, self.value, self.unit) = (name, value, unit) }

    func show(isJSON: Bool) {
        guard value.isFinite else { return say(isJSON ? "{\"name\": \"\(name)\", \"value\": null}" : "\(name): none") }
        let rounded = (value * 100).rounded() / 100
        say(
            isJSON
                ? "{\"name\": \"\(name)\", \"value\": \(rounded), \"unit\": \"\(unit)\"}"
                : "\(name): \(rounded) \(unit)")
    }
}

struct Failure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}
