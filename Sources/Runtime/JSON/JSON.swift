// JSON text to one value type and back, fast and bounded. No I/O, no Foundation, nothing of Kubernetes.
