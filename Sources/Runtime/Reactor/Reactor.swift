// Event loops over epoll and what lives on them: timers, sockets, buffers, signals, child processes. Knows no
// protocol.
