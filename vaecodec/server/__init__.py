"""What answers the page of `vaecodec serve`, on this machine only. Needs the extra `serve`."""
