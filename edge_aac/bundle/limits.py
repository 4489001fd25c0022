"""Bounds of what a manifest states, and of the settings that overrule it: each stands here once."""

from __future__ import annotations

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0
"""Below, logits divided by it leave the range of float32; above, every token is as likely as any other."""
MAX_CANDIDATES = 64
"""Candidates or beams of one window."""
MAX_LENGTH = 512
"""Tokens of a caption, start and end counted."""
MAX_POSITIONS = 8192
MAX_LENGTH_PENALTY = 10.0
"""Magnitude: a length of :data:`MAX_LENGTH` to this power is a finite number, to a power of 1e300 it is none."""
MAX_WEIGHT = 1000.0
"""Weight of one part of the hybrid score, or of a bundle in an ensemble."""
MAX_MEMBERS = 16
"""Bundles of one ensemble."""
MAX_FAMILIARITY = 1e9
"""Magnitude of a threshold of familiarity."""
MAX_VOCABULARY = 4_000_000
"""Tokens; the largest tokenizers of the field have a quarter of a million."""
MAX_EMBEDDING_SIZE = 65_536
MAX_INSTRUCTION = 500
"""Characters in front of every text that is embedded. A text embedder's work grows with the square of its text."""
MAX_PROMPT = 500
MAX_TEMPLATES = 100
"""Texts around a label whose mean is its place; the longest lists of the field have 80 (CLIP's)."""
MAX_LABEL = 200
"""Characters of a label of a dual encoder."""
MAX_LABELS = 4096
MAX_CLIP_SAMPLES = 60 * 192_000
"""Of a clip: a minute at the highest rate of studios."""
MAX_FFT = 65_536
MAX_MEL_BINS = 1024
MAX_LOGIT_SCALE = 10_000.0
"""Factor of cosines before a softmax; CLAP and CLIP learn at most 100."""
MAX_NAME = 255
"""Characters of a name, and bytes of a file's name."""
MAX_TEXT = 10_000
"""Characters of a licence, a version of a tool or the name of an axis."""
