"""The `vaecodec` command. Modules here parse arguments and report; the work is done elsewhere."""
