"""Sound to learn from: collected, spoken and synthesised, kept in one packed store and mixed for teacher and student."""
