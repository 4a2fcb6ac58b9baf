// Pods become containers on this node through an OCI runtime, and their state becomes pod status.
