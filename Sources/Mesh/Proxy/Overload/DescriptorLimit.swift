import Glibc

/// How many descriptors the process may have.
package enum DescriptorLimit {
    /// Raises it as far as an ordinary user may; answers with what it is now, nil where it cannot be read.
    @discardableResult
    package static func raise() -> UInt64? {
        var limit = rlimit()
        guard getrlimit(CInt(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        guard limit.rlim_cur < limit.rlim_max else { return UInt64(limit.rlim_cur) }
        var raised = limit
        raised.rlim_cur = limit.rlim_max
        return UInt64(setrlimit(CInt(RLIMIT_NOFILE.rawValue), &raised) == 0 ? raised.rlim_cur : limit.rlim_cur)
    }
}
