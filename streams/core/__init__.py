"""The pure core: facts to intervals to days. No I/O, no clock."""
