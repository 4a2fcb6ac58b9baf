// Discovery: hands xDS resources to proxies and gRPC clients, in both forms of the protocol, from whoever has some: the control
// plane and a node. Where resources come from, Kubernetes and the proxy's own client may not enter.
