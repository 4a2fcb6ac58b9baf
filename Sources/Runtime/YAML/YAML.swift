// YAML text to JSON values and back, over Yams. The only room that sees Yams, because it brings Foundation with it.
