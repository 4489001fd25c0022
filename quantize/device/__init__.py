"""What runs on the board that the engines are for; no torch."""
