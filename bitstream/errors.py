"""The one hierarchy of errors: everything a bad file or a bad argument can cause.

A message is one sentence that names what was expected and what was found. It does not name the
file, which these modules never see; whoever opened the file does.
"""


class VaeError(Exception):
    """Base class of every error that vaecodec raises on purpose."""


class NotAVaeFile(VaeError):
    """The data does not begin with the signature of a `.vae` file."""


class UnsupportedVersion(VaeError):
    """The file was written in a newer version of the format."""


class UnknownModel(VaeError):
    """No installed model has the name or the id asked for."""


class CorruptFile(VaeError):
    """A checksum is wrong, or a field has a value that no encoder writes."""


class TruncatedFile(CorruptFile):
    """The data ends before the file does."""


class LimitExceeded(VaeError):
    """The picture is larger than the caller allows."""


class BadImage(VaeError):
    """The input is not a picture this codec can encode."""
