import Bytes
import JSON
import Synchronization

/// Somebody who looks on at requests as they end (`/tap`). Workers write lines, the admin port takes them.
///
/// Bounded: while `limit` bytes wait, further requests are only counted, and the reader is told how many it missed.
final class Tap: Sendable {
    /// Bytes that wait for the reader, of all workers together.
    static let limit = 1 << 20

    private struct State {
        var bytes: [UInt8] = []
        var missed = 0
    }

    let filter: TapFilter
    private let state = Mutex(State())

    init(_ filter: TapFilter) { self.filter = filter }

    /// On a worker's loop.
    func take(_ stream: HTTPStream) {
        let side = TrafficSide(stream.connection)
        guard filter.matches(stream, side) else { return }
        let line = Self.line(stream, side, ExplanationClock()).encoded()
        state.withLock { state in
            guard state.bytes.count + line.count < Self.limit else {
                state.missed += 1
                return
            }
            state.bytes += line
            state.bytes.append(UInt8(ascii: "\n"))
        }
    }

    /// What has come since; empty when nothing has.
    func drain() -> [UInt8] {
        let (bytes, missed) = state.withLock { state in
            defer { state = State() }
            return (state.bytes, state.missed)
        }
        guard missed > 0 else { return bytes }
        let note: JSONValue = ["missed": .int(Int64(missed))]
        return bytes + note.encoded() + [UInt8(ascii: "\n")]
    }

    /// One request. Names are those of `/explain`'s sentences; times in milliseconds.
    private static func line(_ stream: HTTPStream, _ side: TrafficSide, _ clock: ExplanationClock) -> JSONValue {
        func text(_ bytes: UnsafeRawBufferPointer?) -> JSONValue {
            .string(bytes.map { String(decoding: $0, as: UTF8.self) } ?? "")
        }
        func milliseconds(_ end: UInt64) -> JSONValue {
            end > stream.began ? .double(Double((end &- stream.began) / 1000) / 1000) : .double(0)
        }
        let flags = ResponseFlags.names.enumerated().filter {
            stream.responseFlags.rawValue & 1 << UInt64($0.offset) != 0
        }
        .map { "\($0.element.short)" }
        var line: JSONObject = [
            "time": .string(clock.date(stream.began)), "direction": .string(side.word),
            "method": text(stream.request.methodText), "host": text(stream.request.authority),
            "path": text(stream.request.value(HeaderKey.envoyOriginalPath) ?? stream.request.path),
            "protocol": .string(stream.version.map { "\($0.text)" } ?? ""),
            "status": .int(Int64(stream.response.status)),
            "flags": .string(flags.joined(separator: ",")),
            "details": .string(stream.detailText ?? "\(stream.details)"),
            "durationMs": milliseconds(stream.worker.now), "firstByteMs": milliseconds(stream.responseBeganAt),
            "requestBytes": .int(Int64(clamping: stream.requestBytes)),
            "responseBytes": .int(Int64(clamping: stream.responseBytes)), "attempts": .int(Int64(stream.attempts)),
            "client": .string("\(stream.remote)"),
            "upstream": .string(stream.upstream.remote.map { "\($0)" } ?? ""),
            "cluster": .string(stream.cluster?.settings.name ?? ""), "route": .string(stream.route?.name ?? ""),
            "tls": .bool((side == .inbound ? stream.tls : stream.upstream.tls) != nil),
            "id": text(stream.request.value(.xRequestID)),
        ]
        if let peer = stream.peerName(side) { line["peer"] = .string(peer) }
        if stream.isGRPC { line["grpcStatus"] = text((stream.trailers ?? stream.response).value(.grpcStatus)) }
        return .object(line)
    }
}

/// What a tap wants to see; everything where nothing is said.
struct TapFilter: Sendable, Hashable {
    var side: TrafficSide?
    var method: [UInt8]?
    /// The path's beginning.
    var path: [UInt8]?
    /// Part of the host.
    var host: String?
    /// `503`, or `5` for all of them.
    var status: Int?
    /// Nanoseconds.
    var slowerThan: UInt64 = 0
    /// Part of the peer's name.
    var peer: String?
    /// Only what did not go well: 5xx, or a flag.
    var failed = false

    /// - Throws: what is wrong with a parameter.
    init(_ parameters: [(name: String, value: String)]) throws(ConfigurationMistake) {
        for (name, value) in parameters {
            switch name {
            case "direction":
                guard let known = ["inbound": TrafficSide.inbound, "outbound": .outbound][value] else {
                    throw ConfigurationMistake("direction must be inbound or outbound, not \"\(value)\"")
                }
                side = known
            case "method": method = Array(value.utf8)
            case "path": path = Array(value.utf8)
            case "host": host = value
            case "peer": peer = value
            case "failed": failed = value != "false"
            case "status":
                let digits = value.lowercased().hasSuffix("xx") ? String(value.dropLast(2)) : value
                guard let number = Int(digits), (1...9).contains(number) || (100...999).contains(number) else {
                    throw ConfigurationMistake("status must be like 503 or 5xx, not \"\(value)\"")
                }
                status = number
            case "min_ms":
                guard let milliseconds = Double(value), milliseconds >= 0, milliseconds < 1e9 else {
                    throw ConfigurationMistake("min_ms must be a number of milliseconds, not \"\(value)\"")
                }
                slowerThan = UInt64(milliseconds * 1e6)
            default: throw ConfigurationMistake("there is no parameter \"\(name)\"")
            }
        }
    }

    func matches(_ stream: HTTPStream, _ side: TrafficSide) -> Bool {
        if let wanted = self.side, wanted != side { return false }
        let code = stream.response.status
        if failed, stream.responseFlags.isEmpty, code > 0, code < 500 { return false }
        if let status, status < 10 ? code / 100 != status : code != status { return false }
        if slowerThan > 0, stream.worker.now &- stream.began < slowerThan { return false }
        if let method, !stream.request.methodText.elementsEqual(method) { return false }
        if let path, !stream.request.path.starts(with: path) { return false }
        if let host {
            let text = String(decoding: stream.request.authority, as: UTF8.self)
            guard text.contains(host) else { return false }
        }
        if let peer, !(stream.peerName(side)?.contains(peer) ?? false) { return false }
        return true
    }
}

struct ConfigurationMistake: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
