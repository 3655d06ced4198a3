"""Pictures outside the model: reading and writing files, what they carry, assembling decoded ones."""
