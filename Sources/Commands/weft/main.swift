// weft: a whole cluster on this machine, up, looked at, and down. Flags and wiring; what clusters do is the other programs'.

Weft.main()
