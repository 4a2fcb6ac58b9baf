import COpenSSL
import Glibc

/// The key schedule of TLS 1.3 as a provider of OpenSSL's: its contexts ask here for every secret of a handshake.
///
/// Two reasons. OpenSSL 3.0's own looks up a KDF, a MAC and a digest by name for each of the two dozen secrets, a tenth of a
/// server's handshake. And `EstablishedRecords` must know the traffic secrets, which OpenSSL tells only to key logs, where it
/// prints all five in hexadecimal with a `sprintf` a byte: another twentieth.
enum KeySchedule {
    /// The property query by which a context prefers it; nil where it cannot be loaded, and OpenSSL stays by itself.
    static let query: String? = {
        guard pthread_key_create(&observer, nil) == 0,
            OSSL_PROVIDER_add_builtin(
                nil, name,
                { _, _, functions, context in
                    functions?.pointee = operations
                    // Only its being there is asked for.
                    context?.pointee = UnsafeMutableRawPointer(mutating: operations)
                    return 1
                }) == 1,
            // The default provider stays, from which all else comes.
            OSSL_PROVIDER_try_load(nil, name, 1) != nil
        else { return nil }
        return "?provider=\(name)"
    }()

    /// Secrets that are derived within `body`, on this thread, are shown to `ends`.
    static func observed<R>(by ends: UnsafeMutablePointer<Ends>, _ body: () -> R) -> R {
        guard query != nil else { return body() }
        pthread_setspecific(observer, ends)
        defer { pthread_setspecific(observer, nil) }
        return body()
    }

    private static let name = "weft"
    /// Whose handshake a thread is in. Written once, in `query`.
    nonisolated(unsafe) private static var observer = pthread_key_t()

    // Tables live for ever, and are only read.
    nonisolated(unsafe) private static let functions = table([
        OSSL_DISPATCH(function_id: OSSL_FUNC_KDF_NEWCTX, function: erased(newContext)),
        OSSL_DISPATCH(function_id: OSSL_FUNC_KDF_FREECTX, function: erased(freeContext)),
        OSSL_DISPATCH(function_id: OSSL_FUNC_KDF_DERIVE, function: erased(derive)), OSSL_DISPATCH(),
    ])
    nonisolated(unsafe) private static let algorithms = table([
        OSSL_ALGORITHM(
            algorithm_names: strdup(OSSL_KDF_NAME_TLS1_3_KDF), property_definition: strdup("provider=\(name)"),
            implementation: functions, algorithm_description: nil), OSSL_ALGORITHM(),
    ])
    nonisolated(unsafe) private static let operations = table([
        OSSL_DISPATCH(function_id: OSSL_FUNC_PROVIDER_QUERY_OPERATION, function: erased(queryOperation)),
        OSSL_DISPATCH(),
    ])

    private static func table<T>(_ rows: [T]) -> UnsafePointer<T> {
        let table = UnsafeMutablePointer<T>.allocate(capacity: rows.count)
        table.initialize(from: rows, count: rows.count)
        return UnsafePointer(table)
    }

    /// A table of functions has one type for all of them (provider(7)).
    private static func erased<F>(_ function: F) -> (@convention(c) () -> Void)? {
        unsafeBitCast(function, to: (@convention(c) () -> Void).self)
    }

    private static let queryOperation:
        @convention(c) (UnsafeMutableRawPointer?, CInt, UnsafeMutablePointer<CInt>?) -> UnsafePointer<OSSL_ALGORITHM>? =
            {
                _, operation, isVolatile in
                isVolatile?.pointee = 0
                return operation == OSSL_OP_KDF ? algorithms : nil
            }

    private static let newContext: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { _ in
        // There is nothing to remember, but nil would be a failure.
        UnsafeMutableRawPointer(mutating: functions)
    }

    private static let freeContext: @convention(c) (UnsafeMutableRawPointer?) -> Void = { _ in }

    private static let derive:
        @convention(c) (
            UnsafeMutableRawPointer?, UnsafeMutablePointer<UInt8>?, Int, UnsafePointer<OSSL_PARAM>?
        ) -> CInt = { _, output, count, parameters in
            guard let output, let parameters, let request = Request(parameters) else { return 0 }
            let secret = UnsafeMutableRawBufferPointer(start: output, count: count)
            guard request.answer(into: secret) else { return 0 }
            if let ends = pthread_getspecific(observer)?.assumingMemoryBound(to: Ends.self) {
                ends.pointee.secrets.take(request.label, UnsafeRawBufferPointer(secret))
            }
            return 1
        }
}

/// What OpenSSL asks for, in the words of EVP_KDF-TLS13_KDF(7).
private struct Request {
    private(set) var label = UnsafeRawBufferPointer(start: nil, count: 0)
    private var digest: LabelledHKDF?
    /// Which of HKDF's two steps; there is none without being asked for.
    private var extracts: Bool?
    private var prefix = UnsafeRawBufferPointer(start: nil, count: 0)
    private var key = UnsafeRawBufferPointer(start: nil, count: 0)
    private var salt = UnsafeRawBufferPointer(start: nil, count: 0)
    private var data = UnsafeRawBufferPointer(start: nil, count: 0)

    /// nil: a digest or a mode of which TLS knows nothing.
    init?(_ parameters: UnsafePointer<OSSL_PARAM>) {
        var next = parameters
        while let name = next.pointee.key {
            let value = UnsafeRawBufferPointer(start: next.pointee.data, count: next.pointee.data_size)
            switch UInt8(bitPattern: name[0]) {
            case UInt8(ascii: "m") where Self.equal(name, OSSL_KDF_PARAM_MODE):
                var mode: CInt = 0
                guard OSSL_PARAM_get_int(next, &mode) == 1 else { return nil }
                guard mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY || mode == EVP_KDF_HKDF_MODE_EXPAND_ONLY else {
                    return nil
                }
                extracts = mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY
            case UInt8(ascii: "d") where Self.equal(name, OSSL_KDF_PARAM_DIGEST): digest = Self.digest(value)
            case UInt8(ascii: "d") where Self.equal(name, OSSL_KDF_PARAM_DATA): data = value
            case UInt8(ascii: "k") where Self.equal(name, OSSL_KDF_PARAM_KEY): key = value
            case UInt8(ascii: "s") where Self.equal(name, OSSL_KDF_PARAM_SALT): salt = value
            case UInt8(ascii: "p") where Self.equal(name, OSSL_KDF_PARAM_PREFIX): prefix = value
            case UInt8(ascii: "l") where Self.equal(name, OSSL_KDF_PARAM_LABEL): label = value
            default: break
            }
            next += 1
        }
        guard digest != nil, extracts != nil, prefix.count + label.count <= Self.longestLabel else { return nil }
    }

    private static let longestLabel = 255

    func answer(into output: UnsafeMutableRawBufferPointer) -> Bool {
        guard let digest, let extracts, !output.isEmpty else { return false }
        return withUnsafeTemporaryAllocation(byteCount: Self.longestLabel, alignment: 8) { room in
            room.copyMemory(from: prefix)
            UnsafeMutableRawBufferPointer(rebasing: room[prefix.count...]).copyMemory(from: label)
            let whole = UnsafeRawBufferPointer(rebasing: room[..<(prefix.count + label.count)])
            return extracts
                ? digest.stage(after: salt, derived: whole, mixing: key, into: output)
                : digest.expand(key, whole, data, into: output)
        }
    }

    /// By the names that OpenSSL has for it, fetched or not; nil for digests of no cipher suite of ours.
    private static func digest(_ name: UnsafeRawBufferPointer) -> LabelledHKDF? {
        // The text may come with its terminating zero or without.
        let count = name.firstIndex(of: 0) ?? name.count
        guard let text = name.baseAddress else { return nil }
        func isNamed(_ known: StaticString) -> Bool {
            known.utf8CodeUnitCount == count && memcmp(known.utf8Start, text, count) == 0
        }
        if isNamed("SHA2-256") || isNamed("SHA256") { return .sha256 }
        return isNamed("SHA2-384") || isNamed("SHA384") ? .sha384 : nil
    }

    private static func equal(_ name: UnsafePointer<CChar>, _ text: String) -> Bool { strcmp(name, text) == 0 }
}
