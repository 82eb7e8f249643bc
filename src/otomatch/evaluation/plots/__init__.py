"""Pictures of plans, embeddings, recall, spectra and confusions."""
