// Flags: the command lines of programs that start often and are small, for whom a parser with reflection and help texts weighs too
// much. What a flag means is the program's.

import Glibc

/// Writes all of it at once, unbuffered, so that whoever follows the output sees it.
public func say(_ text: String, to descriptor: CInt = STDOUT_FILENO) {
    let bytes = Array(text.utf8)
    _ = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
}
