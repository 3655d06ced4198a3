"""The learned model: transforms and means in floating point, scale indices in exact integers."""
