"""`python -m lowres` is `lowres`."""

from lowres.cli import main

main()
