import Compression
import XDS

extension CompressorFilter {
    /// An `envoy.extensions.filters.http.compressor.v3.Compressor`. Of the libraries only gzip is there.
    convenience init(_ node: ConfigNode, _ context: FilterContext) throws(ConfigError) {
        guard let library = node.message("compressor_library") else {
            throw node.error("compressor_library", "is missing")
        }
        let name = library.string("name")
        guard let packed = try library.typed("typed_config") else { throw library.error("typed_config", "is missing") }
        guard packed.typeName == "envoy.extensions.compression.gzip.compressor.v3.Gzip" else {
            throw library.error("typed_config", "compression by \(packed.typeName) is not supported")
        }
        var options = Options()
        options.gzip = try GzipCompressor.Options(packed)
        // Which of several compressors wins matters only where there are several.
        node.ignore("choose_first")
        let scope = "compressor.\(name).gzip."
        var request = Direction.off(scope + "request.", context)
        if let direction = node.message("request_direction_config"), let common = direction.message("common_config") {
            request = Direction(common, scope + "request.", isEnabled: true, context)
        }
        let response: Direction
        var responseScope = scope
        if let direction = node.message("response_direction_config") {
            responseScope += "response."
            options.sparesETags = direction.bool("disable_on_etag_header")
            options.weakensETags = direction.bool("weaken_etag_on_compress")
            options.removesAcceptEncoding = direction.bool("remove_accept_encoding_header")
            options.incompressibleStatuses = Set(direction.uint32s("uncompressible_response_codes").map { Int($0) })
            let common = direction.message("common_config")
            response =
                common.map { Direction($0, responseScope, isEnabled: true, context) }
                ?? .standard(responseScope, context)
        } else {
            // The form from before directions.
            options.sparesETags = node.bool("disable_on_etag_header")
            options.removesAcceptEncoding = node.bool("remove_accept_encoding_header")
            var direction = Direction.standard(responseScope, context)
            direction.minimumLength = Int(node.uint32("content_length", default: UInt32(direction.minimumLength)))
            let types = node.strings("content_type")
            if !types.isEmpty { direction.contentTypes = types.map { Array($0.lowercased().utf8) } }
            if let flag = node.message("runtime_enabled") { direction.isEnabled = flag.isOn }
            response = direction
        }
        func counter(_ name: String) -> CounterID { context.counter(responseScope + name) }
        self.init(
            request, response,
            ResponseCounters(
                noAcceptHeader: counter("no_accept_header"), identity: counter("header_identity"),
                used: counter("header_compressor_used"), wildcard: counter("header_wildcard"),
                notValid: counter("header_not_valid"), etag: counter("not_compressed_etag")), options)
    }
}

extension CompressorFilter.Direction {
    fileprivate static func standard(_ scope: String, _ context: FilterContext) -> Self {
        Self(
            isEnabled: true, minimumLength: 30,
            contentTypes: CompressorFilter.standardTypes.map { Array($0.utf8) },
            counters: CompressorFilter.Counters(scope, context))
    }

    fileprivate static func off(_ scope: String, _ context: FilterContext) -> Self {
        var direction = standard(scope, context)
        direction.isEnabled = false
        return direction
    }

    /// A `CommonDirectionConfig`.
    fileprivate init(_ node: ConfigNode, _ scope: String, isEnabled: Bool, _ context: FilterContext) {
        self = .standard(scope, context)
        self.isEnabled = node.message("enabled")?.isOn ?? isEnabled
        minimumLength = Int(node.uint32("min_content_length", default: UInt32(minimumLength)))
        let types = node.strings("content_type")
        if !types.isEmpty { contentTypes = types.map { Array($0.lowercased().utf8) } }
    }
}

extension CompressorFilter.Counters {
    init(_ scope: String, _ context: FilterContext) {
        compressed = context.counter(scope + "compressed")
        notCompressed = context.counter(scope + "not_compressed")
        uncompressedBytes = context.counter(scope + "total_uncompressed_bytes")
        compressedBytes = context.counter(scope + "total_compressed_bytes")
        tooSmall = context.counter(scope + "content_length_too_small")
    }
}

extension CompressorFilter.Override {
    /// A `CompressorPerRoute`.
    init(_ node: ConfigNode) throws(ConfigError) {
        isDisabled = node.bool("disabled")
        guard let overrides = node.message("overrides") else { return }
        removesAcceptEncoding = overrides.message("response_direction_config")?.boolIfSet(
            "remove_accept_encoding_header")
    }
}

extension GzipCompressor.Options {
    /// An `envoy.extensions.compression.gzip.compressor.v3.Gzip`.
    fileprivate init(_ node: ConfigNode) throws(ConfigError) {
        self.init()
        memoryLevel = Int32(node.uint32("memory_level", default: UInt32(memoryLevel)))
        windowBits = Int32(node.uint32("window_bits", default: UInt32(windowBits)))
        let level = node.enumNumber("compression_level")
        self.level = level == 0 ? -1 : Int32(level)
        strategy = Int32(node.enumNumber("compression_strategy"))
        node.ignore("chunk_size")
    }
}

extension ConfigNode {
    /// A `core.v3.RuntimeFeatureFlag`: there is no runtime, so its default.
    var isOn: Bool {
        ignore("runtime_key")
        return bool("default_value", default: true)
    }
}
