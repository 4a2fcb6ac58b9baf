import CLinux
import Glibc

/// The program's own code and constants in memory.
public enum ResidentCode {
    /// Gives back the pages that starting touched (and those that the kernel mapped around them), so that only what
    /// serving needs stays resident; the kernel maps the rest again, from the page cache, when it is used. Costs a few
    /// hundred minor faults.
    ///
    /// For small programs that run everywhere, once they have started. Only clean pages of files are given back: nothing
    /// is lost. Answers how many bytes of mappings that were.
    @discardableResult
    public static func releaseStartup() -> Int {
        guard let maps = try? Files.readText("/proc/self/maps") else { return 0 }
        let pageMap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)
        defer { close(pageMap) }
        var released = 0
        for line in maps.split(separator: "\n") {
            // start-end permissions offset device inode path
            let words = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
            guard words.count == 6, words[1] == "r-xp" || words[1] == "r--p", words[4] != "0" else { continue }
            let ends = words[0].split(separator: "-").compactMap { UInt(String($0), radix: 16) }
            guard ends.count == 2, ends[1] > ends[0] else { continue }
            released += release(ends[0]..<ends[1], pageMap)
        }
        return released
    }

    /// Gives back the runs of pages that are the file's own. A page that was written (relocated constants) is anonymous
    /// memory by now and would be lost: bit 61 of its entry is clear (Documentation/admin-guide/mm/pagemap.rst).
    private static func release(_ range: Range<UInt>, _ pageMap: CInt) -> Int {
        let pageSize = UInt(sysconf(CInt(_SC_PAGESIZE)))
        let count = Int((range.upperBound - range.lowerBound) / pageSize)
        let entries = [UInt64](unsafeUninitializedCapacity: count) { room, filled in
            let bytes = pread(pageMap, room.baseAddress, count * 8, off_t(range.lowerBound / pageSize * 8))
            filled = max(0, bytes) / 8
        }
        var released = 0
        var index = 0
        while index < entries.count {
            let start = index
            while index < entries.count, entries[index] >> 61 & 1 == 1 { index += 1 }
            if index > start, let base = UnsafeMutableRawPointer(bitPattern: range.lowerBound + UInt(start) * pageSize)
            {
                let length = (index - start) * Int(pageSize)
                if madvise(base, length, MADV_DONTNEED) == 0 { released += length }
            }
            index += 1
        }
        return released
    }
}
