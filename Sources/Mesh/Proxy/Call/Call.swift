import Bytes
import HTTP
import TLS

/// A request of the proxy itself: for a verdict, a quota, keys, a health check.
///
///     let call = worker.call(target) { call in … }
///     call.request.setMethod(…); call.request.setPath(…)
///     call.start()
///
/// On one worker's loop. The completion is called once, never within `start`, at the end of the event that brought the end;
/// after `cancel` it is not called any more. Only there may the answer be looked at.
package final class Call {
    package enum Outcome {
        /// An answer has come, perhaps the proxy's own: 503 where no upstream could be reached, 504 where none answered in time.
        case answered
        /// The answer broke off, or was larger than the target allows.
        case broken
    }

    package let target: CallTarget
    package let worker: ProxyWorker
    package let request = HeaderBlock()
    /// The request's body.
    package var body = GrowingBytes()
    /// Sends the body's length in the head; streams of gRPC have none.
    package var declaresLength = true

    /// The final head of the answer.
    package let response = HeaderBlock()
    /// nil for none.
    package private(set) var trailers: HeaderBlock?
    package private(set) var answer = GrowingBytes()
    package private(set) var outcome = Outcome.answered
    /// The answer is this proxy's own.
    package private(set) var isLocalReply = false
    package private(set) var flags = ResponseFlags()

    private static let isInternal = HeaderKey("x-envoy-internal")

    private var completion: ((Call) -> Void)?
    private var stream: HTTPStream?
    private(set) var isStarting = false

    init(_ worker: ProxyWorker, _ target: CallTarget, _ completion: @escaping (Call) -> Void) {
        self.worker = worker
        self.target = target
        self.completion = completion
    }

    deinit {
        body.deallocate()
        answer.deallocate()
    }

    /// Sends it. `content-length` and, where it is missing, the authority are added.
    package func start() {
        isStarting = true
        defer { isStarting = false }
        let stream = worker.takeStream(worker.callCodec)
        self.stream = stream
        if request.authorityRange.isEmpty {
            var authority = target.authority
            authority.withUTF8 { request.setAuthority(UnsafeRawBufferPointer($0)) }
        }
        if request.schemeRange.isEmpty { request.setScheme("http") }
        if target.announcesItself { request.set(Self.isInternal, StaticString("true").bytes) }
        stream.request.load(request)
        stream.beginCall(self, target.route, body.bytes)
    }

    /// Nobody wants the answer any more.
    package func cancel() {
        completion = nil
        guard let stream else { return }
        self.stream = nil
        stream.downstreamGone()
    }

    // MARK: From the codec

    func took(_ head: HeaderBlock) {
        response.load(head)
        // That is for clients of the proxy.
        response.remove(.xEnvoyUpstreamServiceTime)
    }

    /// False when it is too much.
    func took(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard answer.count + bytes.count <= target.limit else { return false }
        answer.append(bytes)
        return true
    }

    func took(trailers block: HeaderBlock) {
        let copy = HeaderBlock()
        copy.load(block)
        trailers = copy
    }

    func ended(_ stream: HTTPStream, _ outcome: Outcome) {
        guard self.stream != nil else { return }
        self.stream = nil
        self.outcome = outcome
        isLocalReply = stream.flags.contains(.isLocalReply)
        flags = stream.responseFlags
        worker.finished(self)
    }

    func complete() {
        guard let completion else { return }
        self.completion = nil
        completion(self)
    }
}

extension HTTPStream {
    /// Takes the way of a request from the router on.
    fileprivate func beginCall(_ call: Call, _ route: RouteEntry, _ body: UnsafeRawBufferPointer) {
        codecHandle = call
        self.route = route
        if !body.isEmpty || request.method == .post {
            if call.declaresLength { request.set(.contentLength, decimal: body.count) }
            requestBody.append(body)
            requestBytes = UInt64(body.count)
            flags.insert(.keepsBody)
        }
        requestIsWhole()
        flags.insert(.isRouted)
        startRouting()
    }
}
