"""The `.vae` container and the entropy coder: numpy and constriction only, no torch.

`container` lays bytes out in chunks and takes them apart again; `entropy` turns integer symbols with
scale indices into one stream and back. docs/format.md is the specification of both.
"""
