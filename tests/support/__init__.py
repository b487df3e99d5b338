"""What tests share: histories, arenas, swarms, terminals, a page and a model server."""
