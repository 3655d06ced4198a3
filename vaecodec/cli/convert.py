"""What `compress` and `decompress` share: many files, each turned into one other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bitstream.errors import VaeError
from vaecodec.cli.report import for_each, notice
from vaecodec.files import check_output, write_whole


def convert(pairs: list[tuple[Path, Path]], work: Callable[[Path, Path], bytes], force: bool) -> int:
    """Write `work(source, target)` to `target` for every pair. Exit code 0 only if all succeeded.

    Existing outputs are found before any work is done on them.
    """
    if not pairs:
        notice("the folders given hold no file to work on")
        return 1
    taken: dict[Path, Path] = {}

    def one(pair: tuple[Path, Path]) -> None:
        source, target = pair
        if target in taken:
            raise VaeError(f"{source}: its output {target} is already that of {taken[target]}")
        if target.exists() and source.exists() and source.samefile(target):
            raise VaeError(f"{source}: would be replaced by its own output")
        check_output(target, force=force)
        data = work(source, target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VaeError(f"{target.parent}: cannot be made ({error.strerror})") from error
        write_whole(target, data, force=force)
        taken[target] = source

    return for_each(pairs, one, lambda pair: str(pair[0]))
