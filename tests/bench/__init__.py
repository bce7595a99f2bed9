"""How fast the real product is, beside peers measured in the same run: `make bench`. Not part of the test suite."""
