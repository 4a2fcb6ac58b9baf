import CYAML
import Glibc

/// libyaml's parser over a text that it owns: the events of a stream, one after the other.
struct YAMLParser: ~Copyable {
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let text: UnsafeMutableBufferPointer<UInt8>

    enum Event {
        case streamStart, streamEnd, documentStart, documentEnd
        case alias(String)
        case scalar(String, anchor: String?, isPlain: Bool)
        case sequenceStart(anchor: String?)
        case sequenceEnd
        case mappingStart(anchor: String?)
        case mappingEnd
    }

    init(_ text: String) throws(YAMLError) {
        var text = text
        self.text = text.withUTF8 { bytes in
            let copy = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: max(bytes.count, 1))
            _ = copy.update(fromContentsOf: bytes)
            return copy
        }
        parser = .allocate(capacity: 1)
        guard yaml_parser_initialize(parser) == 1 else {
            parser.deallocate()
            self.text.deallocate()
            throw YAMLError("no memory to read YAML")
        }
        yaml_parser_set_input_string(parser, self.text.baseAddress, text.utf8.count)
    }

    deinit {
        yaml_parser_delete(parser)
        parser.deallocate()
        text.deallocate()
    }

    /// The next event and the line that it begins on, counted from 1.
    mutating func next() throws(YAMLError) -> (Event, line: Int) {
        var event = yaml_event_t()
        guard yaml_parser_parse(parser, &event) == 1 else { throw error }
        defer { yaml_event_delete(&event) }
        return (Self.event(event), Int(event.start_mark.line) + 1)
    }

    private static func event(_ event: yaml_event_t) -> Event {
        switch event.type {
        case YAML_STREAM_START_EVENT: return .streamStart
        case YAML_DOCUMENT_START_EVENT: return .documentStart
        case YAML_DOCUMENT_END_EVENT: return .documentEnd
        case YAML_ALIAS_EVENT: return .alias(string(event.data.alias.anchor) ?? "")
        case YAML_SCALAR_EVENT:
            let scalar = event.data.scalar
            let bytes = UnsafeBufferPointer(start: scalar.value, count: scalar.length)
            // A tag decides instead of the style: `!!str 12` is text, `!!int "12"` is none.
            let isPlain =
                switch string(scalar.tag) {
                case nil: scalar.style == YAML_PLAIN_SCALAR_STYLE
                case "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:int",
                    "tag:yaml.org,2002:float":
                    true
                default: false
                }
            return .scalar(
                String(decoding: bytes, as: UTF8.self), anchor: string(scalar.anchor), isPlain: isPlain)
        case YAML_SEQUENCE_START_EVENT: return .sequenceStart(anchor: string(event.data.sequence_start.anchor))
        case YAML_SEQUENCE_END_EVENT: return .sequenceEnd
        case YAML_MAPPING_START_EVENT: return .mappingStart(anchor: string(event.data.mapping_start.anchor))
        case YAML_MAPPING_END_EVENT: return .mappingEnd
        // Also what comes after the end: nothing.
        default: return .streamEnd
        }
    }

    private static func string(_ text: UnsafeMutablePointer<yaml_char_t>?) -> String? {
        text.map { String(cString: $0) }
    }

    private var error: YAMLError {
        let problem = parser.pointee.problem.map { String(cString: $0) } ?? "it is no YAML"
        let context = parser.pointee.context.map { String(cString: $0) + ", " } ?? ""
        switch parser.pointee.error {
        case YAML_MEMORY_ERROR: return YAMLError("no memory to read YAML")
        case YAML_READER_ERROR:
            let before = text.prefix(parser.pointee.problem_offset)
            return YAMLError(problem, line: before.count { $0 == UInt8(ascii: "\n") } + 1)
        default: return YAMLError(context + problem, line: Int(parser.pointee.problem_mark.line) + 1)
        }
    }
}
