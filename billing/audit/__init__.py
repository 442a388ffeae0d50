"""What a number is made of, recomputed from the raw events: for whoever doubts one."""
