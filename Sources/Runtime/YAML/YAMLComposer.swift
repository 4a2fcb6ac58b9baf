import JSON

/// Events to values. What an anchor names is kept and shared; an alias counts all the nodes behind it.
struct YAMLComposer: ~Copyable {
    private var parser: YAMLParser
    private let limits: YAMLLimits
    private let keepsLines: Bool
    private var anchors: [String: Node] = [:]
    /// Nodes of this document so far.
    private var count = 0

    private struct Node {
        var value: JSONValue
        var lines: YAMLLines
        /// How many nodes it is, itself among them.
        var size: Int
    }

    private struct Member {
        var key: String
        var line: Int
        var node: Node
    }

    init(_ text: String, limits: YAMLLimits, keepsLines: Bool) throws(YAMLError) {
        guard text.utf8.count <= limits.size else { throw YAMLError("YAML is longer than \(limits.size) bytes") }
        parser = try YAMLParser(text)
        self.limits = limits
        self.keepsLines = keepsLines
    }

    /// The next document; nil at the end. An empty one is null.
    mutating func document() throws(YAMLError) -> (value: JSONValue, lines: YAMLLines)? {
        while true {
            switch try parser.next().0 {
            case .streamEnd: return nil
            case .documentStart:
                anchors = [:]
                count = 0
                let (event, line) = try parser.next()
                let node = try node(event, line, depth: 0)
                return (node.value, node.lines)
            default: continue
            }
        }
    }

    private mutating func node(_ event: YAMLParser.Event, _ line: Int, depth: Int) throws(YAMLError) -> Node {
        guard depth < limits.depth else {
            throw YAMLError("the document is nested deeper than \(limits.depth) levels", line: line)
        }
        let before = count
        try add(1, line)
        var node: Node
        let anchorName: String?
        switch event {
        case .scalar(let text, let anchor, let isPlain):
            node = Node(
                value: isPlain ? YAMLScalar.value(text) : .string(text), lines: YAMLLines(line: line, children: []),
                size: 1)
            anchorName = anchor
        case .sequenceStart(let anchor):
            node = try sequence(line, depth)
            anchorName = anchor
        case .mappingStart(let anchor):
            node = try mapping(line, depth)
            anchorName = anchor
        case .alias(let name):
            guard let target = anchors[name] else {
                throw YAMLError("an alias without its anchor: \(name)", line: line)
            }
            try add(target.size - 1, line)
            return target
        default: throw YAMLError("a value is missing", line: line)
        }
        node.size = count - before
        if let anchorName { anchors[anchorName] = node }
        return node
    }

    private mutating func sequence(_ line: Int, _ depth: Int) throws(YAMLError) -> Node {
        var elements: [JSONValue] = []
        var lines: [YAMLLines] = []
        while true {
            let (event, itemLine) = try parser.next()
            if case .sequenceEnd = event { break }
            let node = try node(event, itemLine, depth: depth + 1)
            elements.append(node.value)
            if keepsLines { lines.append(node.lines) }
        }
        return Node(value: .array(elements), lines: YAMLLines(line: line, children: lines), size: 0)
    }

    private mutating func mapping(_ line: Int, _ depth: Int) throws(YAMLError) -> Node {
        var members: [Member] = []
        while true {
            let (event, keyLine) = try parser.next()
            if case .mappingEnd = event { break }
            let key: String
            switch event {
            case .scalar(let text, let anchor, _):
                key = text
                if let anchor {
                    anchors[anchor] = Node(
                        value: .string(text), lines: YAMLLines(line: keyLine, children: []), size: 1)
                }
            case .alias(let name):
                guard case .string(let text)? = anchors[name]?.value else {
                    throw YAMLError("a mapping's key must be a plain word", line: keyLine)
                }
                key = text
            default: throw YAMLError("a mapping's key must be a plain word", line: keyLine)
            }
            let (valueEvent, valueLine) = try parser.next()
            var node = try node(valueEvent, valueLine, depth: depth + 1)
            node.lines.line = keyLine
            members.append(Member(key: key, line: keyLine, node: node))
        }
        // Stable, so that of two equal keys the second one is the one that is too much.
        members.sort { KeyOrder.compare($0.key, $1.key) < 0 }
        for (first, second) in zip(members, members.dropFirst()) where KeyOrder.compare(first.key, second.key) == 0 {
            throw YAMLError(
                "key \"\(first.key)\" is there twice, first in line \(min(first.line, second.line))",
                line: max(first.line, second.line))
        }
        let object = JSONObject(ascending: members.map { JSONObject.Member(key: $0.key, value: $0.node.value) })
        return Node(
            value: .object(object),
            lines: YAMLLines(line: line, children: keepsLines ? members.map(\.node.lines) : []), size: 0)
    }

    private mutating func add(_ nodes: Int, _ line: Int) throws(YAMLError) {
        count += nodes
        guard count <= limits.nodes else {
            throw YAMLError("the document has more than \(limits.nodes) values, aliases expanded", line: line)
        }
    }
}
