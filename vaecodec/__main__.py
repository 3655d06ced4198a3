"""`python -m vaecodec`; also how torchrun starts several training processes."""

from vaecodec.cli.main import main

if __name__ == "__main__":
    main()
