"""From torch to a bundle: export, conversion and the numeric gate."""
