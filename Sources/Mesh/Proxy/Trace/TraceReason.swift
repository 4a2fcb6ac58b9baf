import HTTP

/// Why a request is traced, which a UUID of version 4 carries to the next proxy where it would say its version: the 15th
/// letter of `x-request-id`.
enum TraceReason: UInt8, Sendable {
    case none, sampled, serviceForced, clientForced

    private static let marks: [UInt8] = [
        UInt8(ascii: "4"), UInt8(ascii: "9"), UInt8(ascii: "a"), UInt8(ascii: "b"),
    ]
    private static let place = 14

    /// What a request ID says; nothing that is no UUID says anything.
    init(requestID: UnsafeRawBufferPointer) {
        self = .none
        guard requestID.count == RequestID.length,
            let reason = Self.marks.firstIndex(of: requestID[Self.place]).map(UInt8.init)
        else { return }
        self = TraceReason(rawValue: reason) ?? .none
    }

    /// Writes it into the request's ID, where that is a UUID.
    func write(on request: HeaderBlock) {
        guard let id = request.value(.xRequestID), id.count == RequestID.length,
            id[Self.place] != Self.marks[Int(rawValue)]
        else { return }
        withUnsafeTemporaryAllocation(byteCount: RequestID.length, alignment: 1) { text in
            text.copyMemory(from: id)
            text[Self.place] = Self.marks[Int(rawValue)]
            request.set(.xRequestID, UnsafeRawBufferPointer(text))
        }
    }
}

/// What is counted of a connection manager's decisions (`http.PREFIX.tracing.`).
enum TracingStat: Int, StatBlock {
    case random, serviceForced, clientEnabled, notTraceable, healthCheck

    var leaf: String {
        switch self {
        case .random: "tracing.random_sampling"
        case .serviceForced: "tracing.service_forced"
        case .clientEnabled: "tracing.client_enabled"
        case .notTraceable: "tracing.not_traceable"
        case .healthCheck: "tracing.health_check"
        }
    }

    init(_ reason: TraceReason) {
        self =
            switch reason {
            case .none: .notTraceable
            case .sampled: .random
            case .serviceForced: .serviceForced
            case .clientForced: .clientEnabled
            }
    }
}
