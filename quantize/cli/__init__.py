"""The verbs of the build-time side, one file each."""
