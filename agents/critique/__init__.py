"""What a critic judges by: fingerprints of code, luck, a model's word, and how critics were right before."""
