"""The `.vae` container and its entropy coder, on numpy and constriction only: no torch.

`container` writes files as chunks and parses them; `entropy` codes integer symbols, given their scale
indices, into one stream and back. docs/format.md specifies both.
"""
