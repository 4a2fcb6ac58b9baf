// weft: a whole cluster on this machine, up, looked at, and down. Flags and wiring; what clusters do is the other programs'.

// The arrow between two ends is a word, not an option.
Weft.main(CommandLine.arguments.dropFirst().map { $0 == "->" ? "→" : $0 })
