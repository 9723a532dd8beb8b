"""`python -m mmgenre`."""

from mmgenre.cli import main

main()
