// The Kubernetes API as data: kinds, schema, selectors, quantities, patches, encodings, status errors. No I/O.
