"""`vaecodec serve`."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import webbrowser
from typing import Any

import click

from bitstream.errors import VaeError
from vaecodec.cli import options
from vaecodec.cli.messages import say


@click.command("serve")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8787,
    show_default=True,
    help="Port at 127.0.0.1; 0 for any that is free.",
)
@click.option("--open", "browse", is_flag=True, help="Open the page in the browser.")
@click.option(
    "--max-bytes",
    type=options.Size(),
    default="64Mi",
    show_default=True,
    metavar="BYTES",
    help="Refuse larger files.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=2**25,
    show_default=True,
    help="Refuse larger pictures.",
)
@options.model
@options.device
def command(
    port: int, browse: bool, max_bytes: int, max_pixels: int, model: str | None, device: str
) -> int:
    """Try the codec in the browser, on this machine only.

    Drop a picture, move the quality, see before and after beside JPEG, WebP and AVIF of the same size,
    and download the file. The page also shows .vae files.

    The page is served on this machine only, until Ctrl-C. Nothing is kept, and nothing is sent to any
    other machine.
    """
    try:
        import uvicorn

        from vaecodec.server.application import Limits, application
        from vaecodec.server.guard import ADDRESS
    except ImportError as error:
        raise VaeError(f"serve needs the extra: pip install 'vaecodec[serve]' ({error})") from error
    from vaecodec.codec import Codec
    from vaecodec.pictures.reading import set_limit_of_pillow

    set_limit_of_pillow(max_pixels)
    codec = Codec(model, device)
    limits = Limits(max_bytes=max_bytes, max_pixels=max_pixels)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((ADDRESS, port))
            listening.listen()  # from here on, who asks waits
        except OSError as error:
            raise VaeError(f"port {port} cannot be served ({error.strerror})") from error
        port = listening.getsockname()[1]
        url = f"http://{ADDRESS}:{port}/"
        say(f"vaecodec is at {url} until Ctrl-C")
        if browse:
            # A browser in the terminal only comes back when it is closed.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        site = application(codec, limits, port)

        class Server(uvicorn.Server):
            def handle_exit(self, *arguments: Any) -> None:
                site.close()
                super().handle_exit(*arguments)

        config = uvicorn.Config(
            site.app, log_level="error", lifespan="off", ws="none", timeout_graceful_shutdown=1
        )
        with contextlib.suppress(KeyboardInterrupt):  # how it is meant to end
            Server(config).run(sockets=[listening])
    if site.is_working():
        os._exit(0)  # Python would wait for what no one asks for, or end it in the middle of PyTorch
    return 0
