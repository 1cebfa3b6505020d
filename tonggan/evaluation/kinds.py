"""How figures are called, written and read: those beyond the first ones in `card`."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class FigureKind:
    """How a figure is called, written and read."""

    label: str
    label_zh: str
    better: str
    """`higher`, `lower`, or empty where neither end is better."""
    meaning: str
    factor: float = 1.0
    """What the value is multiplied with before it is shown."""
    unit: str = ""
    digits: int = 1


MORE_KINDS: Mapping[str, FigureKind] = {
    "fid": FigureKind(
        "FID",
        "FID",
        "lower",
        "Fréchet Inception Distance (Heusel et al. 2017) on torch-fidelity's Inception-v3 of 2015, pictures resized to 299 by Pillow (bicubic, antialiased, in"
        " bytes). Other implementations resize otherwise and do not compare.",
        digits=2,
    ),
    "kid": FigureKind(
        "KID",
        "KID",
        "lower",
        "Kernel Inception Distance (Bińkowski et al. 2018): unbiased squared MMD, cubic kernel, on the same features as FID.",
        factor=1000,
        unit="×10⁻³",
        digits=2,
    ),
    "mind": FigureKind(
        "MIND",
        "MIND",
        "lower",
        "Monge Inception Distance (Berthet et al. 2026, arXiv 2605.06797): 3 x 2048 times the squared sliced Wasserstein distance over 1,000 directions, on the"
        " same features as FID.",
        digits=2,
    ),
    "sliced_distance": FigureKind(
        "sliced Wasserstein distance",
        "切片 Wasserstein 距离",
        "lower",
        "MIND's formula on the features of another network: 3 x width times the squared sliced Wasserstein distance over 1,000 directions.",
        digits=2,
    ),
    "cmmd": FigureKind(
        "CMMD",
        "CMMD",
        "lower",
        "Unbiased squared MMD, Gaussian kernel of bandwidth 10, on CLIP embeddings (Jayasumana et al. 2024). The paper's network is ViT-L/14 at 336 pixels:"
        " compare figures of the same network alone.",
        factor=1000,
        unit="×10⁻³",
        digits=3,
    ),
    "precision": FigureKind(
        "precision (looks real)",
        "精确率",
        "higher",
        "Share of drawn pictures within the 5-nearest-neighbour ball of any ground truth (Kynkäänniemi et al. 2019).",
        factor=100,
        unit="%",
    ),
    "recall": FigureKind(
        "recall (covers what is real)",
        "召回率",
        "higher",
        "Share of ground truths within the 5-nearest-neighbour ball of any drawn picture.",
        factor=100,
        unit="%",
    ),
    "density": FigureKind(
        "density",
        "密度",
        "higher",
        "Mean number of balls of ground truths around a drawn picture, over 5 (Naeem et al. 2020); 1 where the sets are alike.",
        digits=2,
    ),
    "coverage": FigureKind(
        "coverage", "覆盖率", "higher", "Share of ground truths whose ball holds a drawn picture (Naeem et al. 2020).", factor=100, unit="%"
    ),
    "r_precision": FigureKind(
        "R-precision against 99 others",
        "R 精度(99 干扰)",
        "higher",
        "Chance that a drawn picture is nearer to its own ground truth than to 99 random others (the protocol of AttnGAN, with pictures in place of captions):"
        " computed exactly, not by drawing the 99.",
        factor=100,
        unit="%",
    ),
    "caption_r_precision": FigureKind(
        "R-precision of the caption",
        "标题 R 精度",
        "higher",
        "Chance that a drawn picture is nearer to its own caption than to 99 random others, by CLIP (the protocol of AttnGAN, Xu et al. 2018).",
        factor=100,
        unit="%",
    ),
    "clip_score": FigureKind(
        "CLIPScore",
        "CLIPScore",
        "higher",
        "Mean of 100 x max(cosine, 0) of picture and caption, as torchmetrics has it; the 2.5 x of Hessel et al. 2021 is a fortieth of it.",
    ),
    "sharpness": FigureKind(
        "sharpness",
        "清晰度",
        "",
        "1 - blur effect (Crete et al. 2007), from 0 to 1, without a reference: read it against the ground truths'.",
        digits=3,
    ),
    "blockiness": FigureKind(
        "blocks of compression",
        "块效应",
        "",
        "Mean step across the borders of 8 x 8 blocks over the mean step elsewhere: 1 without blocks. Read it against the ground truths'.",
        digits=3,
    ),
    "ringing": FigureKind(
        "ringing beside edges",
        "振铃",
        "lower",
        "Mean curvature, in grey levels of 255, of what lies 3 to 5 pixels beside strong edges and is no edge itself. Read it against the ground truths'.",
        digits=2,
    ),
    "meteor": FigureKind(
        "METEOR",
        "METEOR",
        "higher",
        "Mean METEOR 1.5 (Denkowski & Lavie 2014) of the sentences, by its own program, English; the card's details have that of the corpus, as in papers.",
        factor=100,
    ),
    "spice": FigureKind(
        "SPICE", "SPICE", "higher", "SPICE (Anderson et al. 2016): F of scene graphs, by its own program as pycocoevalcap runs it.", factor=100
    ),
    "material_accuracy": FigureKind(
        "materials named by the sound",
        "材质识别率",
        "higher",
        "Share of the true events whose material a linear classifier of log-mel spectra, trained on real sounds of the training rows, names by what is heard"
        " there. Read it against that on the true sound.",
        factor=100,
        unit="%",
    ),
    "synchrony_accuracy": FigureKind(
        "sound told from shifted sound",
        "同步判别率",
        "higher",
        "Share of copies of the sound, shifted by 0.2 to 0.6 s either way, that a small network trained on real pairs of the training rows finds less in time"
        " with the frames than the sound itself. 50 % is chance; read it against that on the true sound.",
        factor=100,
        unit="%",
    ),
}
