import Glibc

struct FileError: Error { var text: String }

func read(_ path: String) throws -> [UInt8] {
    guard let file = fopen(path, "r") else { throw FileError(text: "open \(path): \(errno)") }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var block = [UInt8](repeating: 0, count: 65536)
    while case let count = fread(&block, 1, block.count, file), count > 0 { bytes += block[..<count] }
    return bytes
}

func write(_ bytes: [UInt8], to path: String) throws {
    guard let file = fopen(path, "w") else { throw FileError(text: "create \(path): \(errno)") }
    defer { fclose(file) }
    guard fwrite(bytes, 1, bytes.count, file) == bytes.count else { throw FileError(text: "write \(path): \(errno)") }
}
