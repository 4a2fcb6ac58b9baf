// NetworkPolicies become nftables elements, and answers. Nothing here runs pods, finds Services or speaks to an API server but
// `PolicyRunner`, which follows one.
