// rtnetlink, nftables and conntrack: messages as values, and one transport on the loop. Knows nothing of
// Kubernetes.
