/// The methods of HTTP/1 that are taken, as the usual parsers have them: RFC 9110, WebDAV, UPnP and their kin. Anything else is
/// noise, or somebody who speaks another protocol.
enum KnownMethods {
    private static let names: [[UInt8]] = [
        "ACL", "BIND", "CHECKOUT", "COPY", "LINK", "LOCK", "M-SEARCH", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL",
        "MOVE", "NOTIFY", "PROPFIND", "PROPPATCH", "PURGE", "REBIND", "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE",
        "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE",
    ].map { Array($0.utf8) }

    /// Of those that have no number of their own.
    static func contains(_ method: UnsafeRawBufferPointer) -> Bool { names.contains { method.elementsEqual($0) } }
}
