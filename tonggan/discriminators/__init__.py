"""Discriminators: (output of one modality, `Latent`) -> a verdict, and the game that they play against a decoder."""
