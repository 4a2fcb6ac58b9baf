import COpenSSL

/// Failures in the words that Envoy's users search for: BoringSSL's names and numbers.
enum TransportFailure {
    /// `errors` are names as `nameOfReason` makes them, in order; `detail` is what verification found.
    static func text(_ errors: [String], detail: String = "") -> String {
        guard !errors.isEmpty else { return "" }
        let lines = errors.map { name in
            let code = 16 << 24 | (numbers[name] ?? alertNumber(name) ?? 0)
            return "|\(code):SSL routines:OPENSSL_internal:\(name)"
        }
        return "TLS_error:" + lines.joined() + (detail.isEmpty ? "" : ":" + detail) + ":TLS_error_end"
    }

    /// OpenSSL words in lower case what BoringSSL names in upper case.
    static func nameOfReason(_ text: String) -> String {
        var name = String(text.uppercased().map { $0 == " " || $0 == "-" ? "_" : $0 })
        // The one family that the two number alike and name apart.
        if name.hasPrefix("SSL/TLS_ALERT_") { name = "SSLV3" + name.dropFirst("SSL/TLS".count) }
        return name
    }

    /// An alert that the peer sent, by its number.
    static func name(ofAlert alert: UInt8) -> String {
        weft_alert_reason(CInt(alert)).map { nameOfReason(String(cString: $0)) } ?? "TLSV1_ALERT_\(alert)"
    }

    private static let numbers: [String: Int] = [
        "CERTIFICATE_VERIFY_FAILED": 125, "HTTP_REQUEST": 156, "HTTPS_PROXY_REQUEST": 155,
        "NO_SHARED_CIPHER": 184, "PEER_DID_NOT_RETURN_A_CERTIFICATE": 199, "UNSUPPORTED_PROTOCOL": 240,
        "WRONG_VERSION_NUMBER": 247, "NO_COMMON_SIGNATURE_ALGORITHMS": 253, "NO_APPLICATION_PROTOCOL": 307,
        "UNEXPECTED_MESSAGE": 225, "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": 130, "KEY_USAGE_BIT_INCORRECT": 279,
    ]

    /// RFC 8446 §6: alerts are numbered alike everywhere, from 1000.
    private static func alertNumber(_ name: String) -> Int? {
        for (alert, number) in alerts where name.hasSuffix("ALERT_" + alert) { return 1000 + number }
        return nil
    }

    private static let alerts: [(String, Int)] = [
        ("UNEXPECTED_MESSAGE", 10), ("BAD_RECORD_MAC", 20), ("HANDSHAKE_FAILURE", 40), ("NO_CERTIFICATE", 41),
        ("BAD_CERTIFICATE", 42), ("UNSUPPORTED_CERTIFICATE", 43), ("CERTIFICATE_REVOKED", 44),
        ("CERTIFICATE_EXPIRED", 45), ("CERTIFICATE_UNKNOWN", 46), ("ILLEGAL_PARAMETER", 47), ("UNKNOWN_CA", 48),
        ("ACCESS_DENIED", 49), ("DECODE_ERROR", 50), ("DECRYPT_ERROR", 51), ("PROTOCOL_VERSION", 70),
        ("INSUFFICIENT_SECURITY", 71), ("INTERNAL_ERROR", 80), ("UNRECOGNIZED_NAME", 112),
        ("CERTIFICATE_REQUIRED", 116), ("NO_APPLICATION_PROTOCOL", 120),
    ]
}
