"""The learned model: transforms (floating point), prior (exact integers), quality levels."""
