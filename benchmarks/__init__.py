"""Speed and memory beside other packages; `make bench-core` runs them."""
