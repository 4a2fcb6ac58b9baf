import Bytes
import TLS

/// Fingerprints of a client's TLS library, as access logs and policies name them. Made only where a listener asks for them.
extension ClientHelloParts {
    /// MD5 of "version,ciphers,extensions,groups,formats", decimal numbers joined by "-", without GREASE.
    var ja3: String {
        let fields = [
            String(legacyVersion), Self.decimal(numbers(cipherSuites)),
            Self.decimal(extensionTypes.filter { !isGREASE($0) }),
            Self.decimal(numbers(groups)), Self.decimal(pointFormats.map(UInt16.init)),
        ]
        return Hex.encode(Digest.md5(fields.joined(separator: ",").utf8))
    }

    /// Three parts: what is counted, a hash of the sorted ciphers, a hash of the sorted extensions with the signature
    /// algorithms in order.
    var ja4: String {
        let ciphers = numbers(cipherSuites).map(Self.hexadecimal).sorted()
        let types = extensionTypes.filter { !isGREASE($0) }
        let named = types.filter { $0 != 0 && $0 != 16 }.map(Self.hexadecimal).sorted()
        let algorithms = numbers(signatureAlgorithms).map(Self.hexadecimal)
        var listed = named.joined(separator: ",")
        if !algorithms.isEmpty { listed += "_" + algorithms.joined(separator: ",") }
        return "t\(ja4Version)\(serverName.isEmpty ? "i" : "d")\(Self.twoDigits(ciphers.count))"
            + "\(Self.twoDigits(types.count))\(ja4Protocol)_"
            + "\(Self.shortHash(ciphers.joined(separator: ",")))_\(Self.shortHash(named.isEmpty ? "" : listed))"
    }

    private var ja4Version: String {
        switch highestVersion {
        case 0x0304: "13"
        case 0x0303: "12"
        case 0x0302: "11"
        case 0x0301: "10"
        case 0x0300: "s3"
        default: "00"
        }
    }

    /// First and last character of the first protocol; its first and last hexadecimal digit when those are not letters or digits.
    private var ja4Protocol: String {
        var names = ByteCursor(protocols)
        guard let name = names.readVector8(), let first = name.first, let last = name.last else { return "00" }
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            byte &- 48 < 10 || byte &- 65 < 26 || byte &- 97 < 26
        }
        let ends =
            isAlphanumeric(first) && isAlphanumeric(last)
            ? [first, last] : [Hex.digit(first >> 4), Hex.digit(last & 15)]
        return String(decoding: ends, as: UTF8.self)
    }

    private func numbers(_ list: UnsafeRawBufferPointer) -> [UInt16] {
        var result: [UInt16] = []
        var cursor = ByteCursor(list)
        while let number = cursor.readUInt16() {
            if !isGREASE(number) { result.append(number) }
        }
        return result
    }

    private static func decimal(_ numbers: [UInt16]) -> String { numbers.map(String.init).joined(separator: "-") }
    private static func hexadecimal(_ number: UInt16) -> String {
        Hex.encode([UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number)])
    }
    private static func twoDigits(_ number: Int) -> String {
        number > 98 ? "99" : number < 10 ? "0\(number)" : "\(number)"
    }
    private static func shortHash(_ text: String) -> String {
        text.isEmpty ? "000000000000" : String(Hex.encode(Digest.sha256(text.utf8)).prefix(12))
    }
}
