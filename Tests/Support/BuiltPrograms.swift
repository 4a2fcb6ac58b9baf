import Glibc
import Reactor

/// Weft's own programs: in the folder that `WEFT_PROGRAMS` names, or beside the test's own products.
package enum BuiltPrograms {
    package static let folder: String = {
        if let chosen = Environment["WEFT_PROGRAMS"] { return chosen }
        func parent(_ path: String) -> String { path.split(separator: "/").dropLast().map { "/" + $0 }.joined() }
        // The test runner is swift's or our bundle's; the products are where the bundle was built.
        if let bundle = CommandLine.arguments.first(where: { $0.hasSuffix(".xctest") }) { return parent(bundle) }
        guard let own = realpath("/proc/self/exe", nil) else { return ".build/debug" }
        defer { free(own) }
        return parent(String(cString: own))
    }()

    /// nil where it is not built, as in a narrowed build.
    package static func path(_ name: String) -> String? {
        let path = "\(folder)/\(name)"
        return access(path, X_OK) == 0 ? path : nil
    }
}
