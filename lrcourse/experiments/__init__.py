"""Declared comparisons: what they ask and train, and their recordings, read back and repeated."""
