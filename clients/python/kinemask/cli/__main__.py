"""`python -m kinemask.cli` is `kinemask`."""

from kinemask.cli import main

if __name__ == "__main__":
    main()
