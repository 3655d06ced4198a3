"""Many pictures on many machines, as steps of Ray Data. Needs the extra `ray`.

    import ray
    from vaecodec.ray import Encoder, find, write

    found = find("photos", "small")
    if not found.paths:
        raise SystemExit("nothing is left to do")
    files = ray.data.read_binary_files(found.paths, include_paths=True, num_cpus=0)
    encoded = files.map_batches(
        Encoder,
        fn_constructor_kwargs={"quality": 60, "root": found.root},
        compute=ray.data.ActorPoolStrategy(size=8),
        batch_size=8,
        num_cpus=1,
    )
    for row in write(encoded, "small", force=True).iter_rows():
        if row["error"] is not None:
            print(row["error"])

`python -m vaecodec.ray` does the same from the command line (docs/many-machines.md).
"""

from __future__ import annotations

try:
    import pyarrow as _pyarrow  # noqa: F401
    import ray.data as _ray_data  # noqa: F401
except ImportError as error:
    # With the package's own name, `python -m` prints this as one line.
    raise ModuleNotFoundError(
        f"vaecodec.ray needs the extra: pip install 'vaecodec[ray]' ({error})", name=__name__
    ) from error

from vaecodec.ray.inputs import Found, find
from vaecodec.ray.outputs import write
from vaecodec.ray.workers import Decoder, Encoder

__all__ = ["Decoder", "Encoder", "Found", "find", "write"]
