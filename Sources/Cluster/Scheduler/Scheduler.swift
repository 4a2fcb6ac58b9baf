// Which node a pod goes to, and nothing else.
