import ArgumentParser

struct Down: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Take a cluster away: processes, containers, interfaces, namespaces, mounts, rules and files.",
        discussion: "Does the same whether the cluster runs, crashed, or came up only half; again is no error.")

    @OptionGroup var folder: ClusterFolder

    func run() throws {
        let terminal = Progress()
        try Preflight.mustBeRoot()
        guard let record = try ClusterRecord.load(folder.absolute) else {
            print("nothing is up in \(folder.absolute)")
            return
        }
        try Teardown(record, terminal).run()
        terminal.done("\(folder.absolute) is gone")
    }
}
