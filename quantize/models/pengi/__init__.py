"""Pengi: a sound and a prompt in, a text out."""
