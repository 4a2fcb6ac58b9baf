// The mesh's part of a node: for each pod in the mesh two sockets, from which its proxy has its certificates (SDS) and its
// configuration (xDS, handed through to the control plane), and the keys behind them. Nothing of the node's other rooms may enter,
// and nothing of a proxy's data plane.
