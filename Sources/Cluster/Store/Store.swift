// Revisioned keys and values with etcd's semantics. Knows nothing of kinds.
