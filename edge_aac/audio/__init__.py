"""Sound in, windows out: sources, the sample ring, the filter bank and the window slicer."""
