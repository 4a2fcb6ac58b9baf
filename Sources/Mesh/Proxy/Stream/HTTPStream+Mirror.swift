import HTTP

/// Copies of a request that go to other clusters, and whose answers nobody hears.
extension HTTPStream {
    /// Once the request looks as its upstream sees it.
    func startMirrors(_ policies: [MirrorPolicy]) {
        for policy in policies where policy.fraction.holds(random) {
            guard let id = clusterID(policy.choice), let cluster = worker.cluster(id) else { continue }
            let mirror = worker.takeStream(mirroring: self)
            mirror.cluster = cluster
            mirror.trace = trace.map { StreamTrace(copyOf: $0, isSampled: policy.samplesTrace) }
            mirror.request.load(request)
            if !policy.host.isEmpty {
                policy.host.withUnsafeBytes { mirror.request.setAuthority($0) }
            } else if !policy.keepsHost {
                mirror.markHost()
            }
            // As far as the other cluster is concerned the proxy itself asks.
            mirror.request.set(RequestHygiene.internalRequest, StaticString("true").bytes)
            RequestHygiene.appendForwarded(mirror.request, .ip(.loopbackV4, 0))
            policy.headers.apply(to: mirror.request, mirror)
            routing.mirrors.append(MirrorReference(stream: mirror, id: mirror.id))
            if flags.contains(.requestEnded) { mirror.requestIsWhole() }
            if !requestBody.isEmpty { mirror.sendUpstream(requestBody.bytes, end: flags.contains(.requestEnded)) }
            mirror.startAttempt()
        }
    }

    /// `host` becomes `host-shadow`, `host:port` becomes `host-shadow:port`.
    private func markHost() {
        let host = request.authority
        let end = Authority.portRange(host).map { $0.lowerBound - 1 } ?? host.count
        withUnsafeTemporaryAllocation(byteCount: host.count + 7, alignment: 1) { marked in
            marked.copyMemory(from: UnsafeRawBufferPointer(rebasing: host[..<end]))
            UnsafeMutableRawBufferPointer(rebasing: marked[end...]).copyMemory(from: StaticString("-shadow").bytes)
            UnsafeMutableRawBufferPointer(rebasing: marked[(end + 7)...]).copyMemory(
                from: UnsafeRawBufferPointer(rebasing: host[end...]))
            request.setAuthority(UnsafeRawBufferPointer(marked))
        }
    }

    func sendToMirrors(_ data: UnsafeRawBufferPointer, end: Bool) {
        for reference in routing.mirrors {
            guard let mirror = reference.live else { continue }
            if end { mirror.requestIsWhole() }
            mirror.sendUpstream(data, end: end)
        }
    }

    /// The request will not be complete, and so no copy of it.
    func dropMirrors() {
        for reference in routing.mirrors { reference.live?.finishMirror() }
    }

    /// A copy's answer is complete, or will not come.
    func finishMirror() {
        guard !flags.contains(.isOver) else { return }
        flags.insert(.isOver)
        clearTimer()
        dropAttempt()
        worker.giveBack(self)
    }
}

/// A copy as its original knows it: it may be over, and its stream be used again, long before the original is.
struct MirrorReference {
    var stream: HTTPStream
    var id: UInt64

    var live: HTTPStream? { stream.id == id && !stream.flags.contains(.isOver) ? stream : nil }
}
