// The data plane of the sidecar and the gateway: accept → inspect → choose chain → TLS → codec → filters → route → cluster →
// balance → pool → upstream, each a folder. Speaks no xDS and reads no files: configuration comes in as values.
