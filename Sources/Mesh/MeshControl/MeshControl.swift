// The mesh's control plane: Kubernetes and Gateway API objects to xDS resources, the server that hands them to proxies, and the
// authority that gives workloads their certificates. Nothing of a proxy's data plane, and nothing of a node, may enter.
