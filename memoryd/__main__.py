"""``python -m memoryd``."""

from memoryd.cli import main

main()
