"""Pictures outside the model: in and out of files, what they carry, putting decoded ones together."""
