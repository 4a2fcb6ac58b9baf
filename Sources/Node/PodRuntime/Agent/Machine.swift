import Glibc
import Reactor

/// What this machine is, for the node's status.
public struct Machine: Sendable {
    public var cpus: Int64
    /// Bytes.
    public var memory: UInt64
    /// Bytes of the file system that holds the node's state.
    public var storage: UInt64
    public var machineID: String
    public var systemUUID: String
    public var bootID: String
    public var kernel: String
    public var architecture: String
    public var osImage: String
    public var runtimeVersion: String

    /// Reads it from the kernel, /etc and crun. What cannot be read is empty.
    public static func read(stateDirectory: String, on loop: EventLoop) async -> Machine {
        func text(_ path: String) -> String { ((try? Files.readText(path, limit: 1 << 16)) ?? "").trimmed }
        func field(_ text: String, _ name: String) -> String? {
            text.split(separator: "\n").first { $0.hasPrefix(name) }.map {
                String($0.dropFirst(name.utf8.count)).trimmed
            }
        }
        var names = utsname()
        uname(&names)
        func string<T>(_ tuple: T) -> String {
            withUnsafeBytes(of: tuple) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        }
        var volume = statvfs()
        let hasVolume = statvfs(stateDirectory, &volume) == 0
        let kilobytes =
            field(text("/proc/meminfo"), "MemTotal:")?.split(separator: " ").first.flatMap { UInt64($0) } ?? 0
        let machine = string(names.machine)
        // `crun version 1.8.1`
        let crun = try? await ChildProcess.run(
            ChildProcess.Configuration([OCIRuntime.crun, "--version"]), on: loop, timeout: .seconds(5))
        let words = crun?.text.split(whereSeparator: \.isWhitespace) ?? []
        let runtime = "crun://" + (words.count > 2 ? String(words[2]) : "unknown")
        let pretty = field(text("/etc/os-release"), "PRETTY_NAME=") ?? "Linux"
        return Machine(
            cpus: max(1, Int64(sysconf(Int32(_SC_NPROCESSORS_ONLN)))), memory: kilobytes * 1024,
            storage: hasVolume ? UInt64(volume.f_blocks) * UInt64(volume.f_frsize) : 0,
            machineID: text("/etc/machine-id"),
            systemUUID: text("/sys/class/dmi/id/product_uuid"), bootID: text("/proc/sys/kernel/random/boot_id"),
            kernel: string(names.release),
            architecture: machine == "x86_64" ? "amd64" : machine == "aarch64" ? "arm64" : machine,
            osImage: pretty.split(separator: "\"").first.map(String.init) ?? pretty, runtimeVersion: runtime)
    }
}
