"""Recordings, scenes made of them, and captions that are true of the scenes."""
