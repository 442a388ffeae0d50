"""The billing-report API over HTTP, as its public contract has it, and our own extensions under their own path."""
