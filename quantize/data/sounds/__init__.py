"""Sound to learn from: collected, spoken and synthesised, packed into one store, mixed for teacher and student."""
