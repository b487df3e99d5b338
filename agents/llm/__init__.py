"""How roles ask a model: the digest it reads, the client, the budget, and the patch it returns."""
