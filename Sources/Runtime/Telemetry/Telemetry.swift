// Counters, histograms, Prometheus text and structured log lines. Knows no protocol; serving them is somebody
// else's work.
