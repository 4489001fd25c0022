"""Objectives, the training loop and its measures."""
