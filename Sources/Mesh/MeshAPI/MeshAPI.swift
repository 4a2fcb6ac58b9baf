// What the control plane, the nodes and the tools must agree on about meshed pods: names, ports, annotations and what they mean.
// Values only; nothing here does anything.
