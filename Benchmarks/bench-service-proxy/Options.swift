/// What the command line asks for.
struct Options {
    enum Subject: String, CaseIterable {
        case mechanism
        case weftNode = "weft-node"
        case kubeProxy = "kube-proxy"
    }

    static let usage = """
        usage: bench-service-proxy [--json] [--only mechanism|weft-node|kube-proxy] [--weft-node PATH]
                                   [--peer-kube-proxy PATH] [SERVICESxENDPOINTS ...]

          --only             one subject instead of all
          --weft-node        default: beside this program
          --peer-kube-proxy  a kube-proxy that is measured on the same objects, in nftables mode
          sizes              default: 1000x10 10000x10 44000x5 (2 to 15 endpoints)
        """

    let loads: [Load]
    let subjects: [Subject]
    let asJSON: Bool
    let weftNode: String
    let kubeProxy: String?
    /// Set in the process that does the work.
    let single: (Subject, Load)?
    private let program: String

    init(_ arguments: [String]) throws {
        program = arguments[0]
        let folder = arguments[0].lastIndex(of: "/").map { String(arguments[0][...$0]) } ?? ""
        var weftNode = folder + "weft-node"
        var (asJSON, kubeProxy, sizes, only): (Bool, String?, [Load], Subject?) = (false, nil, [], nil)
        var isSingle = false
        var rest = arguments.dropFirst()
        func value(of option: String) throws -> String {
            guard let value = rest.popFirst() else { throw BenchmarkError("\(option) wants a value") }
            return value
        }
        while let argument = rest.popFirst() {
            switch argument {
            case "--json": asJSON = true
            case "--single": isSingle = true
            case "--weft-node": weftNode = try value(of: argument)
            case "--peer-kube-proxy": kubeProxy = try value(of: argument)
            case "--only":
                only = Subject(rawValue: try value(of: argument))
                guard only != nil else { throw BenchmarkError("--only wants mechanism, weft-node or kube-proxy") }
            default:
                guard let load = Load(argument) else { throw BenchmarkError("\(argument) is no size like 1000x10") }
                sizes.append(load)
            }
        }
        if only == .kubeProxy, kubeProxy == nil { throw BenchmarkError("--peer-kube-proxy is missing") }
        subjects = only.map { [$0] } ?? (kubeProxy == nil ? [.mechanism, .weftNode] : Subject.allCases)
        single = isSingle ? only.flatMap { subject in sizes.first.map { (subject, $0) } } : nil
        loads = sizes.isEmpty ? ["1000x10", "10000x10", "44000x5"].compactMap { Load($0) } : sizes
        (self.asJSON, self.weftNode, self.kubeProxy) = (asJSON, weftNode, kubeProxy)
    }

    /// For the shell: one subject at one size.
    func command(_ subject: Subject, _ load: Load) -> String {
        let words =
            [program, "--single", "--only", subject.rawValue, load.name, "--weft-node", weftNode]
            + (kubeProxy.map { ["--peer-kube-proxy", $0] } ?? []) + (asJSON ? ["--json"] : [])
        return words.map { "'\($0)'" }.joined(separator: " ")
    }
}

/// One line of a table.
struct Row {
    var cells: [(name: String, value: String)]

    var text: String { cells.map { "\($0.name): \($0.value)" }.joined(separator: "\n") + "\n" }
    var json: String { "{" + cells.map { "\"\($0.name)\": \"\($0.value)\"" }.joined(separator: ", ") + "}" }
}
