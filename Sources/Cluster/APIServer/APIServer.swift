// Kubernetes REST as real clients speak it, over a Store: one generic path for every resource.
