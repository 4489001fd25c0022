"""Closed tasks: naming by labels, finding by words, captions, answers to questions; for any kind of bundle."""
