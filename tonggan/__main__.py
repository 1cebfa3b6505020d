"""`python -m tonggan` is the command `tonggan`, where its folder is not on the path."""

from tonggan.cli import main

main()
