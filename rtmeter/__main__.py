"""`python -m rtmeter` is `rtmeter`."""

from rtmeter.cli import main

if __name__ == "__main__":
    main()
