"""What the latent is good for besides the codec: one module for each use, built on top of it.

Nothing here is needed to read or write a file.
"""
