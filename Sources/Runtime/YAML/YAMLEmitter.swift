import CYAML
import JSON

/// libyaml's emitter, writing one document into memory.
struct YAMLEmitter: ~Copyable {
    private let emitter: UnsafeMutablePointer<yaml_emitter_t>
    private let output: UnsafeMutablePointer<[UInt8]>

    init() {
        emitter = .allocate(capacity: 1)
        output = .allocate(capacity: 1)
        output.initialize(to: [])
        yaml_emitter_initialize(emitter)
        yaml_emitter_set_unicode(emitter, 1)
        yaml_emitter_set_width(emitter, -1)
        yaml_emitter_set_output(
            emitter,
            { output, bytes, count in
                output?.assumingMemoryBound(to: [UInt8].self).pointee.append(
                    contentsOf: UnsafeBufferPointer(start: bytes, count: count))
                return 1
            }, output)
    }

    deinit {
        yaml_emitter_delete(emitter)
        emitter.deallocate()
        output.deinitialize(count: 1)
        output.deallocate()
    }

    mutating func document(_ value: JSONValue) throws(YAMLError) -> String {
        var event = yaml_event_t()
        try emit(yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING), &event)
        try emit(yaml_document_start_event_initialize(&event, nil, nil, nil, 1), &event)
        try write(value)
        try emit(yaml_document_end_event_initialize(&event, 1), &event)
        try emit(yaml_stream_end_event_initialize(&event), &event)
        return String(decoding: output.pointee, as: UTF8.self)
    }

    private mutating func write(_ value: JSONValue) throws(YAMLError) {
        var event = yaml_event_t()
        switch value {
        case .null: try write("null", YAML_PLAIN_SCALAR_STYLE)
        case .bool(let bool): try write(bool ? "true" : "false", YAML_PLAIN_SCALAR_STYLE)
        case .int(let int): try write("\(int)", YAML_PLAIN_SCALAR_STYLE)
        case .double(let double): try write("\(double)", YAML_PLAIN_SCALAR_STYLE)
        case .string(let text): try write(text)
        case .array(let elements):
            let style = elements.isEmpty ? YAML_FLOW_SEQUENCE_STYLE : YAML_BLOCK_SEQUENCE_STYLE
            try emit(yaml_sequence_start_event_initialize(&event, nil, nil, 1, style), &event)
            for element in elements { try write(element) }
            try emit(yaml_sequence_end_event_initialize(&event), &event)
        case .object(let object):
            let style = object.isEmpty ? YAML_FLOW_MAPPING_STYLE : YAML_BLOCK_MAPPING_STYLE
            try emit(yaml_mapping_start_event_initialize(&event, nil, nil, 1, style), &event)
            for (key, value) in object {
                try write(key)
                try write(value)
            }
            try emit(yaml_mapping_end_event_initialize(&event), &event)
        }
    }

    /// Text that would be read back as something else stands in quotes, text of several lines in a block.
    private mutating func write(_ text: String) throws(YAMLError) {
        if text.utf8.contains(UInt8(ascii: "\n")) { return try write(text, YAML_LITERAL_SCALAR_STYLE) }
        try write(
            text, YAMLScalar.isPlainString(text) ? YAML_ANY_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE)
    }

    private mutating func write(_ text: String, _ style: yaml_scalar_style_t) throws(YAMLError) {
        var event = yaml_event_t()
        var text = text
        let result = text.withUTF8 { bytes in
            yaml_scalar_event_initialize(&event, nil, nil, bytes.baseAddress, Int32(clamping: bytes.count), 1, 1, style)
        }
        try emit(result, &event)
    }

    /// Takes the event, whatever happens.
    private mutating func emit(_ made: Int32, _ event: inout yaml_event_t) throws(YAMLError) {
        guard made == 1 else { throw YAMLError("no memory to write YAML, or text that is no UTF-8") }
        guard yaml_emitter_emit(emitter, &event) == 1 else {
            throw YAMLError(emitter.pointee.problem.map { String(cString: $0) } ?? "cannot write YAML")
        }
    }
}
