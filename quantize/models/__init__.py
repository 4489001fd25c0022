"""Torch modules of the captioner: BEATs, Conformer, BART decoder, text embedder."""
