// What several test targets share: namespaces, peers, waiting for conditions.
