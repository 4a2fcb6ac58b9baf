import ArgumentParser
import ClusterClient
import Glibc
import JSON
import Reactor
import Synchronization
import YAML

/// How an answer is printed.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case text, wide, json, yaml

    /// Text by lines, or the document.
    func show(_ document: JSONValue, _ lines: () -> [String]) throws {
        switch self {
        case .text, .wide: for line in lines() { print(line) }
        case .json: print(document.pretty())
        case .yaml: print(try YAML.text(document), terminator: "")
        }
    }
}

/// What each of the commands takes that ask a cluster something.
struct AnswerOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "text, wide, json or yaml.")
    var output = OutputFormat.text

    @Option(name: .shortAndLong, help: "Of names without one. Default: the kubeconfig's.")
    var namespace: String?

    @OptionGroup var access: APIAccess

    var isWide: Bool { output == .wide }

    /// Text by lines, or the document.
    func show(_ document: JSONValue, _ lines: () -> [String]) throws { try output.show(document, lines) }

    /// A question that could not be answered ends with 3, so that scripts tell it from "no".
    func answering(_ body: () throws -> Void) throws {
        do { try body() } catch let error as ExitCode { throw error } catch {
            let line = Array("error: \(error)\n".utf8)
            _ = write(STDERR_FILENO, line, line.count)
            throw ExitCode(3)
        }
    }

    // MARK: What is asked

    /// How long all of it may take.
    private static let patience: Duration = .seconds(30)

    /// Asks the API server on a loop of its own, and waits.
    ///
    /// - Parameter patience: nil: as long as it takes.
    func asking<R: Sendable>(
        patience: Duration? = Self.patience, _ body: @escaping @Sendable (ClusterSession) async throws -> R
    ) throws -> R {
        let config = try access.load()
        let namespace = namespace ?? (config.namespace.isEmpty ? "default" : config.namespace)
        let result = Mutex<Result<R, any Error>?>(nil)
        _ = runOnLoops(threads: 1) { group in
            // Who asks has nothing to put away: Ctrl-C ends it at once.
            Signals.unblock(Signals.usual)
            let loop = group.all[0]
            let answer: Result<R, any Error>
            do {
                let transport = try HTTPTransport(config, on: loop, userAgent: "weft")
                let session = ClusterSession(transport: transport, namespace: namespace, loop: loop)
                if let patience {
                    answer = .success(try await withTimeout(patience, on: loop) { try await body(session) })
                } else {
                    answer = .success(try await body(session))
                }
            } catch let error as Refusal {
                answer = .failure(error)
            } catch let error as ExitCode {
                answer = .failure(error)
            } catch {
                answer = .failure(Refusal(error, of: config.server))
            }
            result.withLock { $0 = answer }
        }
        guard let answer = result.withLock({ $0 }) else { throw Refusal("nothing was read", hint: config.server) }
        return try answer.get()
    }
}
