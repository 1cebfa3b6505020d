"""How figures are called, written and read."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class FigureKind:
    """How a figure is called, written and read."""

    label: str
    label_zh: str
    better: str
    """`higher`, `lower`, `truth` where what is nearest to the ground truths' own value is best, or empty where no value is better."""
    meaning: str
    factor: float = 1.0
    """What the value is multiplied with before it is shown."""
    unit: str = ""
    digits: int = 1


TRUTH = "the ground truths"
"""The column of what is to be matched, for figures whose better end is `truth`."""

FIGURES: Mapping[str, FigureKind] = {
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
        "truth",
        "1 - blur effect (Crete et al. 2007), from 0 to 1, without a reference: the nearer to that of the ground truths the better.",
        digits=3,
    ),
    "blockiness": FigureKind(
        "blocks of compression",
        "块效应",
        "truth",
        "Mean step across the borders of 8 x 8 blocks over the mean step elsewhere: 1 without blocks. The nearer to that of the ground truths the better.",
        digits=3,
    ),
    "ringing": FigureKind(
        "ringing beside edges",
        "振铃",
        "truth",
        "Mean curvature, in grey levels of 255, of what lies 3 to 5 pixels beside strong edges and is no edge itself. The nearer to that of the"
        " ground truths the better.",
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
    "tag_accuracy": FigureKind(
        "tag named by the sound",
        "标签识别率",
        "higher",
        "Share of the sounds whose tag (such as what is said, or who says it) a linear classifier of spectra names, that learned from the true sounds of the"
        " training rows alone. Read it against that on the true sounds.",
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
    "frechet_distance": FigureKind(
        "Fréchet distance",
        "弗雷歇距离",
        "lower",
        "Squared Fréchet distance of Gaussians fitted to features of what was made and of the ground truths: for pictures of EfficientNet-Lite0 unless"
        " another network is named, for sounds log-mel statistics unless another embedding is named. Not FID, which is by definition computed"
        " from Inception-v3, nor FAD. Compares only at equal sample count.",
    ),
    "kernel_distance": FigureKind(
        "kernel distance",
        "核距离",
        "lower",
        "Unbiased squared maximum mean discrepancy, cubic kernel, on the same features as the Fréchet distance. Slightly negative where the sets are"
        " alike.",
        factor=1000,
        unit="×10⁻³",
        digits=2,
    ),
    "recall_at_1": FigureKind(
        "R@1 of the own ground truth",
        "首位命中率",
        "higher",
        "Share of drawn pictures whose own ground truth is the nearest of the ground truths of all evaluated captions.",
        factor=100,
        unit="%",
    ),
    "recall_at_5": FigureKind(
        "R@5 of the own ground truth",
        "前五命中率",
        "higher",
        "Share of drawn pictures whose own ground truth is among the five nearest of all evaluated captions.",
        factor=100,
        unit="%",
    ),
    "rank_percentile": FigureKind(
        "ground truths farther than the own one",
        "平均排位",
        "higher",
        "Mean share of the other evaluated ground truths that are farther from a drawn picture than its own. 50 % is chance.",
        factor=100,
        unit="%",
    ),
    "shuffled_recall_at_5": FigureKind(
        "R@5 with shuffled captions",
        "打乱标题后的前五命中率",
        "lower",
        "R@5 of the row's ground truth by a picture drawn for another row's caption. Near chance where the caption is what decides.",
        factor=100,
        unit="%",
    ),
    "caption_sensitivity": FigureKind(
        "sensitivity to the caption",
        "对标题的敏感度",
        "higher",
        "Distance of pictures drawn from one seed for two captions, relative to the distance of the two ground truths. 0: the caption is ignored;"
        " 1: pictures differ as much as real ones.",
        digits=2,
    ),
    "seed_diversity": FigureKind(
        "diversity over seeds",
        "随种子的多样性",
        "",
        "Distance of pictures drawn for one caption from two seeds, relative to the distance of the ground truths of two captions. 0: every seed draws"
        " the same; 1: seeds change as much as captions.",
        digits=2,
    ),
    "copy_rate": FigureKind(
        "copies of training pictures",
        "训练图复制率",
        "lower",
        "Share of pictures nearer to a training picture than a third of that picture's distance to its own nearest neighbour in the training set.",
        factor=100,
        unit="%",
    ),
    "exact": FigureKind(
        "exact sentences",
        "整句相同",
        "higher",
        "Share of sentences that are the first reference, but for case and white space.",
        factor=100,
        unit="%",
    ),
    "exact_label": FigureKind(
        "exact labels",
        "标签相同",
        "higher",
        "Share of sentences that begin with the row's label (the tag `label`) and go on, if at all, behind a comma.",
        factor=100,
        unit="%",
    ),
    **{
        f"bleu_{order}": FigureKind(
            f"BLEU-{order}", f"BLEU-{order}", "higher", "Corpus BLEU (Papineni et al. 2002) on COCO's tokens, as pycocoevalcap has it.", factor=100
        )
        for order in (1, 4)
    },
    "rouge_l": FigureKind("ROUGE-L", "ROUGE-L", "higher", "Mean ROUGE-L (Lin 2004), as pycocoevalcap has it.", factor=100),
    "cider_d": FigureKind(
        "CIDEr-D", "CIDEr-D", "higher", "CIDEr-D (arXiv:1411.5726), document frequencies from the references of the evaluated rows.", digits=3
    ),
    "distinct_2": FigureKind(
        "distinct pairs of words",
        "不同词对比例",
        "",
        "Share of different pairs of neighbouring words among all that were said.",
        factor=100,
        unit="%",
    ),
    "repeat_rate": FigureKind(
        "sentences that repeat themselves", "自我重复率", "lower", "Share of sentences in which a pair of words stands twice.", factor=100, unit="%"
    ),
    "sentence_length": FigureKind("words a sentence", "平均词数", "", "Mean number of tokens a sentence."),
    "onset_f1": FigureKind(
        "F1 of the onsets",
        "起音 F1",
        "higher",
        "Onsets that are heard and true ones, matched one to one within the tolerance: twice the matched over all of both (bootstrap over clips).",
        factor=100,
        unit="%",
    ),
    "onset_lateness": FigureKind(
        "mean lateness of matched onsets",
        "平均滞后",
        "",
        "Mean of (heard - true) over matched onsets: above zero, the sound is late.",
        factor=1000,
        unit="ms",
    ),
    "onset_count_error": FigureKind(
        "error of the count of onsets",
        "起音数误差",
        "lower",
        "Sum over clips of |heard - true| over the number of true onsets.",
        factor=100,
        unit="%",
    ),
    "mel_distance": FigureKind(
        "log-mel distance",
        "对数梅尔距离",
        "lower",
        "Mean absolute difference of the log-mel spectrograms (nepers) of what was made and of the true sound.",
        digits=2,
    ),
    **{
        f"{name}_at_{k}": FigureKind(
            f"{words}, R@{k}",
            f"{words_zh} R@{k}",
            "higher",
            "Share of queries whose own partner is among the nearest in the model's own shared space, among all evaluated rows; of several captions of a row"
            " the first is taken.",
            factor=100,
            unit="%",
        )
        for name, words, words_zh in (
            ("text_to_image", "picture found by its sentence", "以句找图"),
            ("image_to_text", "sentence found by its picture", "以图找句"),
            ("text_to_audio", "sound found by its sentence", "以句找声"),
            ("audio_to_text", "sentence found by its sound", "以声找句"),
        )
        for k in (1, 5, 10)
    },
}
