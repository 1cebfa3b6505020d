"""Decoders with a discriminator against those without, at equal wall-clock: python benchmarks/adversarial.py --minutes 60 --report

The race of `text_to_image_vs_peers.py` (its options, rules and lock) with another field: the article's system, the same with a discriminator, the
StyleGAN2-like decoder, the flow decoder, DF-GAN.
"""

from text_to_image_vs_peers import main

if __name__ == "__main__":
    main("--field", "adversarial", "--minutes", "60", "--out", "runs/adversarial")
