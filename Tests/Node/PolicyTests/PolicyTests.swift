// The room's tests: what policies mean, what the kernel holds, and what packets do.
