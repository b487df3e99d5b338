"""How an explorer searches: what crashes teach, and the samplers that choose values of knobs."""
