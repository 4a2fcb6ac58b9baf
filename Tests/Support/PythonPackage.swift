import Glibc
import Reactor

/// A package from PyPI, kept in the user's cache.
public enum PythonPackage {
    /// The folder that the package is in, installed when it is not there yet; nil when that cannot be done.
    /// - Parameters:
    ///   - version: Exactly.
    ///   - probe: A file within the folder that says that it is complete.
    ///   - others: More packages for the same folder, as pip names them. Nothing else comes along.
    public static func folder(
        _ name: String, _ version: String, named: String, probe: String, with others: [String] = []
    )
        -> String?
    {
        let cache = Environment["XDG_CACHE_HOME"] ?? (Environment["HOME"] ?? "/tmp") + "/.cache"
        let folder = "\(cache)/weft/\(named)-\(version)"
        if access("\(folder)/\(probe)", R_OK) == 0 { return folder }
        guard (try? Files.makeDirectories("\(cache)/weft")) != nil else { return nil }
        // Two test processes may want it at once: the second waits for the first, and nobody sees half of it.
        let command = """
            exec 9>"\(folder).lock" && flock 9 && test -r "\(folder)/\(probe)" && exit 0
            rm -rf "\(folder).new" && timeout 300 python3 -m pip install -q --disable-pip-version-check --no-deps \
                --target "\(folder).new" \(name)==\(version) \(others.joined(separator: " ")) \
                && test -r "\(folder).new/\(probe)" && rm -rf "\(folder)" && mv "\(folder).new" "\(folder)"
            """
        return system("{ \(command)\n} >/dev/null 2>&1") == 0 && access("\(folder)/\(probe)", R_OK) == 0 ? folder : nil
    }
}
