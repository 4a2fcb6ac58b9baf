// Who is who in the mesh, and the messages by which certificates and trust are asked for and given: what the control plane and the
// nodes both have to say the same way. Knows no Kubernetes API, keeps no state, does no I/O.
