"""Discriminators: (output of one modality, `Latent`) -> a verdict, and the game that they play against a decoder."""

from tonggan.discriminators.image import ImageDiscriminator

DISCRIMINATORS = {"image": ImageDiscriminator}
"""The modalities whose outputs can be judged."""
