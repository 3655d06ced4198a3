"""Pictures outside the model: reading them, what they carry, putting decoded ones together."""
