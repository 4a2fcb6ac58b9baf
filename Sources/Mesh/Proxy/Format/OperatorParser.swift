import Glibc
import XDS

/// Reads `%NAME(argument):length%` from a format.
struct OperatorParser {
    struct Invalid: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }

    /// Text and operators of a format, in order. `%%` is a percent sign.
    static func parse(_ format: String) throws(Invalid) -> [Template.Piece] {
        var pieces: [Template.Piece] = []
        var literal: [UInt8] = []
        let bytes = Array(format.utf8)
        var at = 0
        while at < bytes.count {
            guard bytes[at] == UInt8(ascii: "%") else {
                literal.append(bytes[at])
                at += 1
                continue
            }
            if at + 1 < bytes.count, bytes[at + 1] == UInt8(ascii: "%") {
                literal.append(bytes[at])
                at += 2
                continue
            }
            let (command, argument, length, next) = try scan(bytes, at + 1)
            if !literal.isEmpty {
                pieces.append(.text(literal))
                literal = []
            }
            pieces.append(.value(try Self.operation(command, argument), maximum: length))
            at = next
        }
        if !literal.isEmpty { pieces.append(.text(literal)) }
        return pieces
    }

    /// The parts of an operator that begins at `start`, behind its percent sign, and what follows it.
    private static func scan(
        _ bytes: [UInt8], _ start: Int
    ) throws(Invalid) -> (command: String, argument: String?, maximum: Int?, next: Int) {
        var at = start
        func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }
        while at < bytes.count, isNameCharacter(bytes[at]) { at += 1 }
        let command = text(start..<at)
        guard !command.isEmpty, at < bytes.count else {
            throw Invalid(
                "Incorrect configuration: \(text(start - 1..<bytes.count)). Couldn't find valid command at position \(start - 1)"
            )
        }
        var argument: String?
        if bytes[at] == UInt8(ascii: "(") {
            guard let end = bytes[at...].firstIndex(of: UInt8(ascii: ")")) else {
                throw Invalid("%\(command): the argument has no end")
            }
            argument = text(at + 1..<end)
            at = end + 1
        }
        var maximum: Int?
        if at < bytes.count, bytes[at] == UInt8(ascii: ":") {
            let digits = bytes[(at + 1)...].prefix { $0 &- 48 < 10 }
            guard let number = Int(String(decoding: digits, as: UTF8.self)) else {
                throw Invalid("%\(command): the length is no number")
            }
            maximum = number
            at += 1 + digits.count
        }
        guard at < bytes.count, bytes[at] == UInt8(ascii: "%") else {
            throw Invalid("%\(command): the operator has no end")
        }
        return (command, argument, maximum, at + 1)
    }

    private static func isNameCharacter(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "_") || byte &- 65 < 26 || byte &- 48 < 10
    }

    private static func operation(_ command: String, _ argument: String?) throws(Invalid) -> Operator {
        if let plain = plain[command] {
            guard argument == nil else { throw Invalid("%\(command)% takes no argument") }
            return plain
        }
        switch command {
        case "REQ": return .request(try key(command, argument).0, try key(command, argument).1)
        case "REQ_WITHOUT_QUERY":
            return .requestWithoutQuery(try key(command, argument).0, try key(command, argument).1)
        case "RESP": return .response(try key(command, argument).0, try key(command, argument).1)
        case "TRAILER": return .trailer(try key(command, argument).0, try key(command, argument).1)
        case "START_TIME": return .startTime(TimeFormat(argument ?? ""))
        case "EMIT_TIME": return .emitTime(TimeFormat(argument ?? ""))
        case "COMMON_DURATION":
            let parts = (argument ?? "").split(separator: ":").map(String.init)
            guard (2...3).contains(parts.count), let from = StreamMoment(rawValue: parts[0]),
                let to = StreamMoment(rawValue: parts[1]),
                let unit = parts.count == 3 ? TimeUnit(rawValue: parts[2]) : .milliseconds
            else { throw Invalid("Invalid common duration configuration: \(argument ?? "").") }
            return .span(from, to, unit)
        case "PATH":
            let parts = (argument ?? "").split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            let query: Bool
            switch parts.first ?? "" {
            case "", "WQ": query = true
            case "NQ": query = false
            case let other: throw Invalid("Invalid PATH option: '\(other)', only 'WQ'/'NQ' are allowed")
            }
            switch parts.count > 1 ? parts[1] : "ORIG_OR_PATH" {
            case "ORIG": return .path(query: query, .original)
            case "PATH": return .path(query: query, .rewritten)
            case "ORIG_OR_PATH": return .path(query: query, .originalOrRewritten)
            case let other:
                throw Invalid("Invalid PATH option: '\(other)', only 'PATH'/'ORIG'/'ORIG_OR_PATH' are allowed")
            }
        case "QUERY_PARAM": return .queryParameter(Array((argument ?? "").utf8))
        case "QUERY_PARAMS": return .queryParameters
        case "GRPC_STATUS":
            switch argument ?? "CAMEL_STRING" {
            case "", "CAMEL_STRING": return .grpcStatus(.camel)
            case "SNAKE_STRING": return .grpcStatus(.snake)
            case "NUMBER": return .grpcStatus(.number)
            case let other:
                throw Invalid(
                    "GrpcStatusFormatter only supports CAMEL_STRING, SNAKE_STRING or NUMBER, found \(other)")
            }
        case "DYNAMIC_METADATA":
            let parts = (argument ?? "").split(separator: ":").map(String.init)
            return .metadata(namespace: parts.first ?? "", path: Array(parts.dropFirst()))
        case "METADATA":
            let parts = (argument ?? "").split(separator: ":").map(String.init)
            let namespace = parts.count > 1 ? parts[1] : ""
            let path = Array(parts.dropFirst(2))
            switch parts.first {
            case "DYNAMIC": return .metadata(namespace: namespace, path: path)
            case "ROUTE": return .configuredMetadata(.route, namespace: namespace, path: path)
            case "CLUSTER": return .configuredMetadata(.cluster, namespace: namespace, path: path)
            case "UPSTREAM_HOST": return .configuredMetadata(.host, namespace: namespace, path: path)
            case let other: throw Invalid("%METADATA% of \(other ?? "") is not supported")
            }
        case "FILTER_STATE":
            return .filterState(String((argument ?? "").split(separator: ":").first ?? ""))
        case "ENVIRONMENT":
            let name = String((argument ?? "").split(separator: ":").first ?? "")
            return .environment(getenv(name).map { Array(String(cString: $0).utf8) })
        default: throw Invalid("Not supported field in StreamInfo: \(command)")
        }
    }

    /// `NAME`, or `NAME?OTHER`.
    private static func key(_ command: String, _ argument: String?) throws(Invalid) -> (HeaderKey, HeaderKey?) {
        guard let argument, !argument.isEmpty else { throw Invalid("%\(command)% needs the name of a header") }
        let parts = argument.split(separator: "?", omittingEmptySubsequences: false).map(String.init)
        guard parts.count <= 2 else { throw Invalid("More than 1 alternative header specified in token: \(argument)") }
        return (HeaderKey(parts[0]), parts.count == 2 ? HeaderKey(parts[1]) : nil)
    }

    private static let plain: [String: Operator] = [
        "DURATION": .span(.downstreamBegin, .now, .milliseconds),
        "REQUEST_DURATION": .span(.downstreamBegin, .downstreamEnd, .milliseconds),
        "REQUEST_TX_DURATION": .span(.downstreamBegin, .upstreamSendEnd, .milliseconds),
        "RESPONSE_DURATION": .span(.downstreamBegin, .upstreamBegin, .milliseconds),
        "RESPONSE_TX_DURATION": .span(.upstreamBegin, .sendEnd, .milliseconds),
        "PROTOCOL": .protocol, "UPSTREAM_PROTOCOL": .upstreamProtocol, "RESPONSE_CODE": .responseCode,
        "RESPONSE_FLAGS": .responseFlags, "RESPONSE_FLAGS_LONG": .responseFlagsLong,
        "RESPONSE_CODE_DETAILS": .responseCodeDetails,
        "CONNECTION_TERMINATION_DETAILS": .connectionTerminationDetails, "BYTES_RECEIVED": .bytesReceived,
        "BYTES_SENT": .bytesSent, "REQUEST_HEADERS_BYTES": .requestHeadersBytes,
        "RESPONSE_HEADERS_BYTES": .responseHeadersBytes, "RESPONSE_TRAILERS_BYTES": .responseTrailersBytes,
        "UPSTREAM_HOST": .upstreamHost, "UPSTREAM_HOST_NAME": .upstreamHostName,
        "UPSTREAM_HOST_NAME_WITHOUT_PORT": .upstreamHostNameWithoutPort, "UPSTREAM_CLUSTER": .upstreamCluster,
        "UPSTREAM_CLUSTER_RAW": .upstreamClusterRaw, "UPSTREAM_LOCAL_ADDRESS": .upstreamLocalAddress,
        "UPSTREAM_REMOTE_ADDRESS": .upstreamRemoteAddress,
        "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": .upstreamLocalAddressWithoutPort,
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": .upstreamRemoteAddressWithoutPort,
        "UPSTREAM_LOCAL_PORT": .upstreamLocalPort, "UPSTREAM_REMOTE_PORT": .upstreamRemotePort,
        "UPSTREAM_REQUEST_ATTEMPT_COUNT": .upstreamAttempts,
        "UPSTREAM_TRANSPORT_FAILURE_REASON": .upstreamFailureReason,
        "UPSTREAM_CONNECTION_ID": .upstreamConnectionID, "DOWNSTREAM_LOCAL_ADDRESS": .downstreamLocalAddress,
        "DOWNSTREAM_REMOTE_ADDRESS": .downstreamRemoteAddress,
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS": .downstreamDirectRemoteAddress,
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": .downstreamLocalAddressWithoutPort,
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": .downstreamRemoteAddressWithoutPort,
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": .downstreamDirectRemoteAddressWithoutPort,
        "DOWNSTREAM_LOCAL_PORT": .downstreamLocalPort, "DOWNSTREAM_REMOTE_PORT": .downstreamRemotePort,
        "DOWNSTREAM_DIRECT_REMOTE_PORT": .downstreamDirectRemotePort,
        "DOWNSTREAM_TRANSPORT_FAILURE_REASON": .downstreamFailureReason, "REQUESTED_SERVER_NAME": .serverName,
        "ROUTE_NAME": .routeName, "VIRTUAL_CLUSTER_NAME": .virtualClusterName,
        "GRPC_STATUS_NUMBER": .grpcStatus(.number), "CONNECTION_ID": .connectionID, "STREAM_ID": .streamID,
        "TRACE_ID": .traceID,
        "HOSTNAME": .hostname, "LOCAL_REPLY_BODY": .localReplyBody, "ACCESS_LOG_TYPE": .accessLogType,
        "DOWNSTREAM_TLS_VERSION": .tls(.version), "DOWNSTREAM_TLS_CIPHER": .tls(.cipher),
        "DOWNSTREAM_TLS_SESSION_ID": .tls(.sessionID), "DOWNSTREAM_PEER_SUBJECT": .tls(.peerSubject),
        "DOWNSTREAM_PEER_ISSUER": .tls(.peerIssuer), "DOWNSTREAM_PEER_SERIAL": .tls(.peerSerial),
        "DOWNSTREAM_PEER_FINGERPRINT_256": .tls(.peerFingerprint), "DOWNSTREAM_PEER_URI_SAN": .tls(.peerURIs),
        "DOWNSTREAM_PEER_DNS_SAN": .tls(.peerNames), "DOWNSTREAM_PEER_CERT": .tls(.peerCertificate),
        "DOWNSTREAM_LOCAL_SUBJECT": .tls(.localSubject), "DOWNSTREAM_LOCAL_URI_SAN": .tls(.localURIs),
        "DOWNSTREAM_LOCAL_DNS_SAN": .tls(.localNames), "DOWNSTREAM_PEER_CERT_V_START": .tls(.peerValidFrom),
        "DOWNSTREAM_PEER_CERT_V_END": .tls(.peerValidUntil), "DOWNSTREAM_PEER_IP_SAN": .tls(.peerAddresses),
        "DOWNSTREAM_LOCAL_IP_SAN": .tls(.localAddresses), "UPSTREAM_TLS_VERSION": .upstreamTLS(.version),
        "UPSTREAM_TLS_CIPHER": .upstreamTLS(.cipher), "UPSTREAM_TLS_SESSION_ID": .upstreamTLS(.sessionID),
        "UPSTREAM_PEER_SUBJECT": .upstreamTLS(.peerSubject), "UPSTREAM_PEER_ISSUER": .upstreamTLS(.peerIssuer),
        "UPSTREAM_PEER_CERT": .upstreamTLS(.peerCertificate), "UPSTREAM_PEER_URI_SAN": .upstreamTLS(.peerURIs),
        "UPSTREAM_PEER_DNS_SAN": .upstreamTLS(.peerNames), "UPSTREAM_PEER_IP_SAN": .upstreamTLS(.peerAddresses),
        "UPSTREAM_PEER_CERT_V_START": .upstreamTLS(.peerValidFrom),
        "UPSTREAM_PEER_CERT_V_END": .upstreamTLS(.peerValidUntil),
        "UPSTREAM_LOCAL_URI_SAN": .upstreamTLS(.localURIs), "UPSTREAM_LOCAL_DNS_SAN": .upstreamTLS(.localNames),
        "UPSTREAM_LOCAL_IP_SAN": .upstreamTLS(.localAddresses),
    ]
}
