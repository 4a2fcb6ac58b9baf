import HTTP

/// What the connection manager does to every response before the client sees it.
enum ResponseHygiene {
    static func apply(to stream: HTTPStream) {
        let options = stream.manager.options
        let response = stream.response
        if !response.has(.date) { stream.worker.withDate { response.add(.date, $0) } }
        switch options.serverHeader {
        case .overwrite: setServer(response, options.serverName)
        case .appendIfAbsent: if !response.has(.server) { setServer(response, options.serverName) }
        case .passThrough: break
        }
        if options.alwaysSetsRequestIDInResponse || stream.request.value(forceTrace) != nil,
            let id = stream.request.value(.xRequestID)
        {
            response.set(.xRequestID, id)
        }
        if !options.via.isEmpty { RequestHygiene.appendVia(response, options.via) }
    }

    private static let forceTrace = HeaderKey("x-envoy-force-trace")

    private static func setServer(_ response: HeaderBlock, _ name: String) {
        var name = name
        name.withUTF8 { response.set(.server, UnsafeRawBufferPointer($0)) }
    }
}
