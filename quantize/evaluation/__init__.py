"""What a bundle says, measured through the runtime: events on scenes, captions against references, and a report."""
