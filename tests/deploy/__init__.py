"""The manifests of one machine: each mounted file read by its own tool, and the processes run without containers."""
