"""What the board tells of itself: how hot it is, whether it is slowed down, how much power it takes."""
