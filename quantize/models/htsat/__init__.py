"""HTSAT, the audio encoder that Microsoft's CLAP, clapcap and Pengi share."""
