"""From torch to a bundle: export and its numeric gate."""
