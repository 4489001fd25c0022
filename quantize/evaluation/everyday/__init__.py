"""Evaluation of bundles that list everyday sounds: windows whose truth is sounds of the lexicon, and their scores."""
