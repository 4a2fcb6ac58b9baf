extension ConfigNode {
    /// The static resources of a bootstrap: those of its `static_resources`, each by itself. Marks them as read; what is
    /// not supported in one is found when its own node is read.
    public func staticResources() throws(ConfigError) -> [ResourceKind: [Resource]] {
        guard let node = message("static_resources") else { return [:] }
        var found: [ResourceKind: [Resource]] = [:]
        for (kind, field) in [(ResourceKind.listener, "listeners"), (.cluster, "clusters"), (.secret, "secrets")] {
            var names: Set<String> = []
            var resources: [Resource] = []
            let list = ConfigPath(node.path.steps + [.field(field)])
            for (index, message) in node.subtrees(field).enumerated() {
                let resource: Resource
                if kind == .listener, message.value("name") == nil {
                    resource = try Resource(
                        kind, message.named("listener-\(index)"), from: text, at: list, element: index,
                        isChecked: true)
                } else {
                    resource = try Resource(kind, message, from: text, at: list, element: index, isChecked: true)
                }
                guard names.insert(resource.name).inserted else {
                    throw text.locating(
                        ConfigError(list.appending(.element(index)), "\"\(resource.name)\" is there twice"))
                }
                resources.append(resource)
            }
            found[kind] = resources
        }
        return found
    }
}

extension Message {
    /// Static listeners may go without a name; they get one by their place, which stays the same over a restart.
    fileprivate func named(_ name: String) -> Message {
        var message = self
        if let position = type.position(named: "name") { message[position] = .string(name) }
        return message
    }
}
