"""The relational store: facts that must be transactional, such as which reports exist and who makes them."""
