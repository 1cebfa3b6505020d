"""Who takes part, in which race."""

from peers.adversarial import df_gan
from peers.diffusion import pixart_small, unet, unet_small
from peers.peer import Entry
from peers.recipes import finished, ours, shipped
from peers.retrieval import retrieval

FIELD: tuple[Entry, ...] = (
    Entry("tonggan", "tonggan emoji-64", "this repository", ours),
    Entry("unet-small", "diffusers UNet, below our cost", "UNet2DConditionModel, DDPM (arXiv:2006.11239)", unet_small, (5e-4, 2e-4, 1e-3)),
    Entry("pixart-small", "diffusers PixArt, below our cost", "PixArtTransformer2DModel (arXiv:2310.00426)", pixart_small, (5e-4, 2e-4, 1e-3)),
    Entry("unet", "diffusers UNet, size of its example", "UNet2DConditionModel, DDPM (arXiv:2006.11239)", unet, (1e-4, 5e-5, 2e-4)),
    Entry("df-gan", "DF-GAN", "arXiv:2008.05865", df_gan, (1e-4, 5e-5, 2e-4)),
    Entry("article", "the article's system", "recipe `article`", shipped("article")),
    Entry("retrieval", "nearest training caption by MiniLM", "frozen MiniLM (arXiv:2002.10957)", retrieval, trains=False),
)

_KNOWN = {entry.name: entry for entry in FIELD}

ADVERSARIAL: tuple[Entry, ...] = (
    _KNOWN["article"],
    Entry("article-gan", "the article's system with a discriminator", "recipe `article-gan`", shipped("article-gan")),
    Entry("emoji-64-gan", "StyleGAN2-like decoder", "recipe `emoji-64-gan` (arXiv:1912.04958, arXiv:2501.05441)", shipped("emoji-64-gan")),
    _KNOWN["tonggan"],
    Entry(
        "emoji-64-finished", "tonggan emoji-64, finished against a discriminator", "recipes `emoji-64`, `emoji-64-fast` (arXiv:1711.11585)", finished
    ),
    _KNOWN["df-gan"],
)

FIELDS = {"peers": FIELD, "adversarial": ADVERSARIAL}
"""The races, by name."""
