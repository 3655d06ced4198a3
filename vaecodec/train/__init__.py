"""Training: data, float model, loop, export. Never imported for encoding or decoding."""
