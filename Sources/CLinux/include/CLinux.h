// What Swift's Glibc does not import, or imports without its macros: epoll, eventfd, signalfd, pidfd, namespaces,
// socket messages with ancillary data, and the start of child processes. Nothing here keeps state but the loop pointer.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
// Swift's Glibc reads these headers without _GNU_SOURCE and names fd_set's member accordingly; with two names for it the
// two modules cannot be imported together.
#include <features.h>
#pragma push_macro("__USE_XOPEN")
#undef __USE_XOPEN
#include <sys/select.h>
#pragma pop_macro("__USE_XOPEN")
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

// The loop that this thread runs: one pointer a thread, which Swift cannot declare.
void *weft_current_loop(void);
void weft_set_current_loop(void *loop);

void weft_name_thread(const char *name);
// The C library's sentence for an error number, in `room` or static.
const char *weft_error_text(int error, char *room, size_t size);

// epoll_event is packed on x86-64; these keep its 64-bit data a plain number.
static inline uint64_t weft_epoll_data(const struct epoll_event *event) { return event->data.u64; }
static inline int weft_epoll_ctl(int epoll, int operation, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data = {.u64 = data}};
    return epoll_ctl(epoll, operation, fd, &event);
}

// One 8-byte read or write on an eventfd.
static inline int weft_eventfd_signal(int fd) {
    uint64_t one = 1;
    return (int)write(fd, &one, sizeof one);
}
static inline void weft_eventfd_clear(int fd) {
    uint64_t count;
    (void)!read(fd, &count, sizeof count);
}

static inline int weft_pidfd_open(int pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
static inline int weft_pidfd_send_signal(int pidfd, int signal) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

// Reaps through a pidfd: 0 when it has not ended; otherwise 1 with the code (CLD_EXITED, CLD_KILLED, CLD_DUMPED) and
// the exit status or signal. -1 with errno.
static inline int weft_pidfd_reap(int pidfd, int *code, int *status) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    if (waitid((idtype_t)3 /* P_PIDFD */, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0) return -1;
    if (info.si_pid == 0) return 0;
    *code = info.si_code;
    *status = info.si_status;
    return 1;
}

// A child to start. All arrays are NULL-terminated; descriptors are -1 when absent.
struct weft_spawn {
    const char *path;
    char *const *arguments;
    char *const *environment;
    const char *working_directory;    // NULL: as ours
    const int *descriptors;           // for i < descriptor_count: ours that becomes the child's descriptor i; -1 closes it
    int descriptor_count;
    int network_namespace;
    int mount_namespace;
    int unshare_flags;
    int new_session;
    int new_process_group;
    int death_signal;
    int parent;                       // our process id, to notice that we died before the death signal was armed
    // Results:
    const char *failed_call;          // set when the child could not get as far as exec
    int error;
    int pidfd;
};

// Starts it and waits until it has called exec or failed. The process id, or -1 with failed_call and error set.
int weft_spawn(struct weft_spawn *spawn);

static inline int weft_pipe(int *ends) { return pipe2(ends, O_CLOEXEC); }
static inline char **weft_environment(void) { return environ; }

// Ancillary data of datagrams: where a packet was sent to, and from which address its answer leaves.
struct weft_packet_info {
    int family;            // AF_INET, AF_INET6, or 0: none
    uint8_t address[16];
    uint32_t interface;
};
void weft_packet_info_read(const struct msghdr *message, struct weft_packet_info *info);
size_t weft_packet_info_write(void *control, size_t size, const struct weft_packet_info *info);
enum { weft_packet_info_space = 64 };

// Accepts without blocking or inheritance; `address` may be NULL.
static inline int weft_accept(int fd, struct sockaddr_storage *address, socklen_t *length) {
    return accept4(fd, (struct sockaddr *)address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/// Whether `text` holds `wanted` somewhere; memmem is a GNU extension that Swift's Glibc does not show.
static inline int weft_contains(const void *text, size_t length, const void *wanted, size_t wanted_length) {
    return memmem(text, length, wanted, wanted_length) != NULL;
}

static inline ssize_t weft_splice(int from, int to, size_t count, unsigned flags) {
    return splice(from, NULL, to, NULL, count, flags);
}
