// Kernel constants whose C form (enum, macro with a cast, GNU only) Swift imports under another type or not at all.
// The same on all architectures that Swift runs on.

let EPOLLET_: UInt32 = 1 << 31

let SOCK_STREAM_: CInt = 1
let SOCK_DGRAM_: CInt = 2
let SOCK_NONBLOCK_: CInt = 0o4000
let SOCK_CLOEXEC_: CInt = 0o2000000

let MSG_TRUNC_: CInt = 0x20
let MSG_DONTWAIT_: CInt = 0x40
let MSG_NOSIGNAL_: CInt = 0x4000

let SO_SNDBUFFORCE_: CInt = 32
let SO_RCVBUFFORCE_: CInt = 33
let IP_PKTINFO_: CInt = 8
let IP_FREEBIND_: CInt = 15
let IPV6_RECVPKTINFO_: CInt = 49

let CLD_EXITED_: CInt = 1
