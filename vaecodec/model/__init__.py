"""The learned model: transforms and means (floating point), scale indices (exact integers), levels."""
