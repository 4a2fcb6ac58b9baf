import Bytes
import HTTP

/// What the connection manager does to every request before filters see it: what belongs to one hop goes, who the client is
/// and under which number the request runs is written down.
enum RequestHygiene {
    /// False when the request was refused; the client has its answer then.
    static func apply(to stream: HTTPStream) -> Bool {
        let request = stream.request
        let options = stream.manager.options
        if request.authorityRange.isEmpty {
            guard request.method != .other || !options.http1.defaultHost.isEmpty else {
                stream.refuse(400, "missing_host_header")
                return false
            }
        }
        removeHopByHop(request, keepsUpgrade: stream.flags.contains(.isUpgrade))
        if request.pathRange.isEmpty, request.method != .connect {
            stream.refuse(404, "missing_path_rejected")
            return false
        }
        return true
    }

    /// RFC 9110 §7.6.1; also the fields that a `Connection` field names.
    static func removeHopByHop(_ block: HeaderBlock, keepsUpgrade: Bool) {
        block.removeAll { field in
            switch field.name {
            case .keepAlive, .proxyConnection, .transferEncoding, .http2Settings: true
            case .connection, .upgrade: !keepsUpgrade
            case .te: !equalsIgnoringCase(block.value(field), "trailers")
            case .host: true
            default: false
            }
        }
    }
}
