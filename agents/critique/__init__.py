"""Rules of the critic: fingerprints of code, luck in scores, a model's opinion, and how reliable each critic is."""
