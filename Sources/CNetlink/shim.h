#pragma once
#include <stdint.h>
#include <sys/types.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <libnftnl/common.h>
#include <libnftnl/batch.h>
#include <libnftnl/table.h>
#include <libnftnl/chain.h>
#include <libnftnl/rule.h>
#include <libnftnl/expr.h>
#include <libnftnl/set.h>
#include <libnftnl/udata.h>
#include <libnftnl/gen.h>

// glibc shows these two only under _GNU_SOURCE, which a module cannot set after another has read <sched.h>.
int setns(int descriptor, int type);
int unshare(int flags);

/// Moves the calling thread, and no other, into the network namespace behind `descriptor`.
static inline int cnetlink_enter_network_namespace(int descriptor) { return setns(descriptor, 0x40000000); }

/// Gives the calling thread, and no other, a new empty network namespace.
static inline int cnetlink_new_network_namespace(void) { return unshare(0x40000000); }
