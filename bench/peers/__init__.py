"""What the benchmark compares our worker with: the same work, written as each library's documentation shows."""
