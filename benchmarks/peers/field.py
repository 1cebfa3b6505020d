"""Who takes part."""

from peers.adversarial import df_gan
from peers.diffusion import pixart_small, unet, unet_small
from peers.peer import Entry
from peers.recipes import article, ours
from peers.retrieval import retrieval

FIELD: tuple[Entry, ...] = (
    Entry("tonggan", "tonggan emoji-64", "this repository", ours),
    Entry("unet-small", "diffusers UNet, our cost", "UNet2DConditionModel, DDPM (arXiv:2006.11239)", unet_small, (5e-4, 2e-4, 1e-3)),
    Entry("pixart-small", "diffusers PixArt, our cost", "PixArtTransformer2DModel (arXiv:2310.00426)", pixart_small, (5e-4, 2e-4, 1e-3)),
    Entry("unet", "diffusers UNet, size of its example", "UNet2DConditionModel, DDPM (arXiv:2006.11239)", unet, (1e-4, 5e-5, 2e-4)),
    Entry("df-gan", "DF-GAN", "arXiv:2008.05865", df_gan, (1e-4, 5e-5, 2e-4)),
    Entry("article", "the article's system", "recipe `article`", article),
    Entry("retrieval", "nearest training caption", "frozen MiniLM (arXiv:2002.10957)", retrieval, trains=False),
)
