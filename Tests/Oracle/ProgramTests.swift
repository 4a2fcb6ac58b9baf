import Bytes
import Glibc
import Reactor
import Testing

@Suite("weft-proxy as a program", .enabled(if: Contestants.areThere, Contestants.absence))
struct ProgramTests {
    private func run(_ arguments: [String]) async throws -> (output: ChildProcess.Output, text: String) {
        let group = try EventLoopGroup(count: 1, name: "program")
        do {
            let output = try await ChildProcess.run(.init(arguments), on: group.all[0], timeout: .seconds(60))
            await group.shutdown()
            return (output, output.text + output.errorText)
        } catch {
            await group.shutdown()
            throw error
        }
    }

    @Test("each flag of Envoy's is taken, or refused by its name")
    func flags() async throws {
        let contestants = try await Contestants.find()
        let help = try await run([contestants.oracle.path, "--help"]).text
        var names: Set<String> = []
        for line in help.split(separator: "\n") {
            for word in line.split(separator: " ").prefix(3) where word.hasPrefix("--") && word.count > 3 {
                names.insert(word.split(separator: ",").first.map(String.init) ?? "")
            }
        }
        #expect(names.count > 30)
        for name in names.sorted() {
            let text = try await run([contestants.subject.path, "--mode", "validate", "--config-yaml", "{}", name, "1"])
                .text
            #expect(!text.contains("Couldn't find match for argument: \(name)"), "\(name)")
        }
    }

    @Test("an ordinary user may run it; SIGTERM ends it", .enabled(if: geteuid() == 0))
    func ordinaryUser() async throws {
        let contestants = try await Contestants.find()
        let script = """
            set -e
            dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
            cp "\(contestants.subject.path)" "$dir/weft-proxy"; chmod 777 "$dir"
            setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs "$dir/weft-proxy" --concurrency 1 \\
                --admin-address-path "$dir/admin" --log-path "$dir/log" --config-yaml '
                  admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
                  static_resources: {listeners: [{name: l, address: {socket_address: {address: 127.0.0.1, port_value: 0}},
                    filter_chains: [{filters: [{name: e, typed_config: {
                      "@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}]}]}]}' &
            pid=$!
            while ! curl -sf "http://$(cat "$dir/admin" 2>/dev/null)/ready"; do kill -0 $pid; sleep 0.02; done
            awk '/^Uid:/ {print "uid", $2}' /proc/$pid/status
            kill -TERM $pid; wait $pid; echo "exit $?"
            """
        let (output, text) = try await run(["bash", "-c", script])
        #expect(output.status.isSuccess, "\(text)")
        #expect(output.text == "LIVE\nuid 65534\nexit 0", "\(text)")
    }
}
