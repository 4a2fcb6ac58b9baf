#include "CLinux.h"

#include <linux/close_range.h>
#include <linux/sched.h>
#include <pthread.h>
#include <stdlib.h>

static __thread void *current_loop;

void *weft_current_loop(void) { return current_loop; }
void weft_set_current_loop(void *loop) { current_loop = loop; }

void weft_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }

const char *weft_error_text(int error, char *room, size_t size) { return strerror_r(error, room, size); }

// Everything below runs in the child on a borrowed address space (CLONE_VM | CLONE_VFORK), so that starting a process
// costs the same whatever our size: only async-signal-safe calls, no allocation, no change to anything but the stack
// and the result fields.

static int fail(struct weft_spawn *spawn, const char *call) {
    spawn->error = errno ? errno : EINVAL;
    spawn->failed_call = call;
    _exit(127);
}

// Puts ours at the child's numbers. Sources are first moved above all targets, so that no dup2 overwrites one.
static void place_descriptors(struct weft_spawn *spawn) {
    int count = spawn->descriptor_count;
    int lifted[count > 0 ? count : 1];
    for (int i = 0; i < count; i++) {
        lifted[i] = -1;
        if (spawn->descriptors[i] < 0) continue;
        lifted[i] = fcntl(spawn->descriptors[i], F_DUPFD_CLOEXEC, count);
        if (lifted[i] < 0) fail(spawn, "fcntl");
    }
    for (int i = 0; i < count; i++) {
        if (lifted[i] < 0) {
            close(i);
            continue;
        }
        if (dup2(lifted[i], i) < 0) fail(spawn, "dup2");
    }
    // CLOEXEC rather than close: the libraries above may still look at their own until exec.
    syscall(SYS_close_range, (unsigned)count, ~0U, CLOSE_RANGE_CLOEXEC);
}

static int child(void *context) {
    struct weft_spawn *spawn = context;
    if (spawn->mount_namespace >= 0 && setns(spawn->mount_namespace, CLONE_NEWNS) < 0) fail(spawn, "setns(mount)");
    if (spawn->network_namespace >= 0 && setns(spawn->network_namespace, CLONE_NEWNET) < 0) fail(spawn, "setns(net)");
    if (spawn->unshare_flags && unshare(spawn->unshare_flags) < 0) fail(spawn, "unshare");
    if (spawn->new_session && setsid() < 0) fail(spawn, "setsid");
    if (spawn->new_process_group && setpgid(0, 0) < 0) fail(spawn, "setpgid");
    if (spawn->working_directory && chdir(spawn->working_directory) < 0) fail(spawn, "chdir");
    if (spawn->death_signal) {
        if (prctl(PR_SET_PDEATHSIG, spawn->death_signal) < 0) fail(spawn, "prctl");
        if (getppid() != spawn->parent) _exit(127);
    }
    place_descriptors(spawn);
    // Handlers are reset by exec, ignored signals and the mask are not.
    struct sigaction standard;
    memset(&standard, 0, sizeof standard);
    standard.sa_handler = SIG_DFL;
    for (int signal = 1; signal < NSIG; signal++) {
        if (signal != SIGKILL && signal != SIGSTOP) sigaction(signal, &standard, NULL);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(spawn->path, spawn->arguments, spawn->environment);
    return fail(spawn, "execve");
}

int weft_spawn(struct weft_spawn *spawn) {
    enum { stack_size = 128 << 10 };
    spawn->failed_call = NULL;
    spawn->error = 0;
    spawn->pidfd = -1;
    void *stack = mmap(NULL, stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) {
        spawn->failed_call = "mmap";
        spawn->error = errno;
        return -1;
    }
    // No handler of ours may run in the child while it shares our memory.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int pidfd = -1;
    int pid = clone(
        child, (char *)stack + stack_size, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, spawn, &pidfd);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    munmap(stack, stack_size);
    if (pid < 0) {
        spawn->failed_call = "clone";
        spawn->error = error;
        return -1;
    }
    if (spawn->failed_call || spawn->error) {
        int status;
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
        close(pidfd);
        return -1;
    }
    spawn->pidfd = pidfd;
    return pid;
}

void weft_packet_info_read(const struct msghdr *message, struct weft_packet_info *info) {
    info->family = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR((struct msghdr *)message, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo found;
            memcpy(&found, CMSG_DATA(c), sizeof found);
            info->family = AF_INET;
            info->interface = (uint32_t)found.ipi_ifindex;
            memcpy(info->address, &found.ipi_addr, 4);
            return;
        }
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo found;
            memcpy(&found, CMSG_DATA(c), sizeof found);
            info->family = AF_INET6;
            info->interface = found.ipi6_ifindex;
            memcpy(info->address, &found.ipi6_addr, 16);
            return;
        }
    }
}

size_t weft_packet_info_write(void *control, size_t size, const struct weft_packet_info *info) {
    struct cmsghdr *c = control;
    if (info->family == AF_INET && size >= CMSG_SPACE(sizeof(struct in_pktinfo))) {
        struct in_pktinfo from = {.ipi_ifindex = 0};
        memcpy(&from.ipi_spec_dst, info->address, 4);
        c->cmsg_level = IPPROTO_IP;
        c->cmsg_type = IP_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof from);
        memcpy(CMSG_DATA(c), &from, sizeof from);
        return CMSG_SPACE(sizeof from);
    }
    if (info->family == AF_INET6 && size >= CMSG_SPACE(sizeof(struct in6_pktinfo))) {
        struct in6_pktinfo from = {.ipi6_ifindex = info->interface};
        memcpy(&from.ipi6_addr, info->address, 16);
        c->cmsg_level = IPPROTO_IPV6;
        c->cmsg_type = IPV6_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof from);
        memcpy(CMSG_DATA(c), &from, sizeof from);
        return CMSG_SPACE(sizeof from);
    }
    return 0;
}
