"""The server behind the page of `vaecodec serve`, for this machine only. Needs the extra `serve`."""
