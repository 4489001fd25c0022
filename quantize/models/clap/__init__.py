"""CLAP, Microsoft's and LAION's: sounds and texts in one space; and clapcap, which writes captions from that space."""
