"""Denoising diffusion with the networks and schedulers of diffusers: epsilon-prediction (DDPM, arXiv:2006.11239, equation 14), drawn by
DPM-Solver++ (arXiv:2211.01095) with classifier-free guidance (arXiv:2207.12598)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from peers.descent import Descent
from peers.peer import Arena, Pace, Pictures, to_bytes
from peers.sentences import Sentences
from tonggan.data.loader import Batch
from tonggan.decoders.flow_sampling import seeded_noise
from tonggan.errors import UserError
from tonggan.training.checkpoint import Checkpoint
from tonggan.training.loop import step_randomness
from tonggan.training.recipe import OptimizerConfig

CAPTION_DROPOUT = 0.1
STEPS = 25
Predict = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(x_t (batch, 3, size, size), steps (batch,), text states (batch, tokens, width), their mask) -> predicted noise."""


def load_diffusers() -> Any:
    """Return the library; raises `UserError` where it is not installed."""
    try:
        import diffusers
    except ImportError as error:
        raise UserError("the diffusion peers need `diffusers`: pip install diffusers (the extra 'benchmarks')") from error
    return diffusers


class DiffusionPeer:
    """A noise predictor on pixels."""

    guidance_scale: float | None

    def __init__(
        self, name: str, network: nn.Module, predict: Predict, *, arena: Arena, batch_size: int, optimizer: OptimizerConfig, steps: int = STEPS
    ) -> None:
        diffusers = load_diffusers()
        self.name, self.batch_size, self.guidance_scale = name, batch_size, 3.0
        self.seed, self.size, self.steps = arena.recipe.seed, arena.pack.size, steps
        self.descent, self.predict = Descent(network, optimizer, dtype=arena.dtype), predict
        self.sentences = Sentences(dtype=arena.dtype)
        self.noising = diffusers.DDPMScheduler()
        # In pixel space the predicted picture is kept within [-1, 1], as diffusers' documentation advises.
        self.solver = diffusers.DPMSolverMultistepScheduler(thresholding=True, sample_max_value=1.0)
        self.taken = 0

    def parameter_count(self) -> int:
        """Return how many parameters are trained."""
        return self.descent.parameter_count()

    def step(self, batch: Batch, pace: Pace) -> float:
        """Descend the loss of a batch."""
        loss = self._loss(batch, step_randomness(self.seed, pace.step), dropout=CAPTION_DROPOUT)
        self.taken = pace.step + 1
        return self.descent.descend(loss, step=pace.step, factor=pace.factor)

    def _loss(self, batch: Batch, randomness: torch.Generator, *, dropout: float) -> Tensor:
        pictures = batch.inputs["image"]
        dropped = torch.rand(len(pictures), generator=randomness) < dropout
        tokens, mask = self.sentences.states(["" if drop else caption for drop, caption in zip(dropped, batch.inputs["text"], strict=True)])
        times = torch.randint(0, self.noising.config.num_train_timesteps, (len(pictures),), generator=randomness)
        noise = torch.randn(pictures.shape, generator=randomness)
        noisy = self.noising.add_noise(pictures, noise, times).contiguous(memory_format=torch.channels_last)
        with self.descent.autocast():
            predicted = self.predict(noisy, times, tokens, mask)
        return F.mse_loss(predicted.float(), noise)

    def held_out_loss(self, batches: Sequence[Batch]) -> float:
        """Return the averaged weights' loss on fixed batches with fixed noise and times."""
        with self.descent.averaged():
            losses = [self._loss(batch, step_randomness(self.seed + 1, index), dropout=0.0) for index, batch in enumerate(batches)]
        return float(torch.stack(losses).mean())

    def draw(self, captions: Sequence[str], seeds: Sequence[int]) -> Pictures:
        """Draw one picture a caption: the solver runs from each seed's own noise, led away from the empty caption."""
        count = len(captions)
        tokens, mask = self.sentences.states([*captions, *[""] * count])
        x = seeded_noise(list(seeds), (3, self.size, self.size))
        self.solver.set_timesteps(self.steps)
        scale = self.guidance_scale or 1.0
        with self.descent.averaged(), self.descent.autocast():
            for time in self.solver.timesteps:
                twice = torch.cat([x, x]).contiguous(memory_format=torch.channels_last)
                with_caption, without = self.predict(twice, time.expand(2 * count), tokens, mask).float().chunk(2)
                x = self.solver.step(without + scale * (with_caption - without), time, x).prev_sample
        return to_bytes(x)

    def settings(self) -> dict[str, Any]:
        """Return solver, steps and guidance."""
        return {"solver": "dpmsolver++", "num_inference_steps": self.steps, "guidance_scale": self.guidance_scale}

    def snapshot(self) -> Checkpoint:
        """Return weights, average and optimizer."""
        return Checkpoint(self.taken, self.descent.tensors("network"), {"guidance_scale": self.guidance_scale})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to what `snapshot` returned."""
        self.descent.restore(checkpoint.tensors, "network")
        self.taken, self.guidance_scale = checkpoint.step, checkpoint.facts["guidance_scale"]


def unet(arena: Arena, folder: Path, learning_rate: float, resume: bool) -> DiffusionPeer:
    """`UNet2DConditionModel` at the size of diffusers' own example of training at 64x64 (examples/unconditional_image_generation: 128-128-256-256-512-512,
    two blocks a level, batch 16, weight decay 1e-6), with cross-attention on the level where the example has attention. 141 M, 95 GFLOP a training sample."""
    plain, cross = ("DownBlock2D", "CrossAttnDownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")
    shape: dict[str, Any] = {
        "block_out_channels": (128, 128, 256, 256, 512, 512),
        "down_block_types": (*[plain[0]] * 4, plain[1], plain[0]),
        "up_block_types": (cross[0], cross[1], *[cross[0]] * 4),
        "layers_per_block": 2,
    }
    optimizer = OptimizerConfig(kind="adamw", learning_rate=learning_rate, betas=(0.95, 0.999), weight_decay=1e-6)
    return _unet("unet", shape, arena, optimizer, batch_size=16)


def unet_small(arena: Arena, folder: Path, learning_rate: float, resume: bool) -> DiffusionPeer:
    """`UNet2DConditionModel` shrunk below our cost: 8.8 GFLOP a training sample (ours 11.3), 7.5 M; text is read at 16x16 and 8x8."""
    shape: dict[str, Any] = {
        "block_out_channels": (24, 48, 96, 160),
        "down_block_types": ("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
    }
    optimizer = OptimizerConfig(kind="adamw", learning_rate=learning_rate)
    return _unet("unet-small", shape, arena, optimizer, batch_size=64)


def _unet(name: str, shape: dict[str, Any], arena: Arena, optimizer: OptimizerConfig, *, batch_size: int) -> DiffusionPeer:
    diffusers = load_diffusers()
    if arena.smoke:
        shape = shape | {"block_out_channels": (8,) * len(shape["block_out_channels"]), "norm_num_groups": 4, "attention_head_dim": 2}
        shape["layers_per_block"], batch_size = 1, 4
    torch.manual_seed(arena.recipe.seed)
    network = diffusers.UNet2DConditionModel(sample_size=arena.pack.size, in_channels=3, out_channels=3, cross_attention_dim=384, **shape)
    _fastest_attention(network, arena.dtype)

    def predict(x: Tensor, times: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        return network(x, times, encoder_hidden_states=tokens, encoder_attention_mask=mask).sample

    return DiffusionPeer(name, network, predict, arena=arena, batch_size=batch_size, optimizer=optimizer)


def pixart_small(arena: Arena, folder: Path, learning_rate: float, resume: bool) -> DiffusionPeer:
    """`PixArtTransformer2DModel` (arXiv:2310.00426) on 256 patches of 4x4 pixels below our cost: 10.1 GFLOP a training sample (ours 11.3), 6.2 M."""
    diffusers = load_diffusers()
    heads, head_width, layers, batch_size = (2, 16, 1, 4) if arena.smoke else (4, 56, 7, 64)
    torch.manual_seed(arena.recipe.seed)
    network = diffusers.PixArtTransformer2DModel(
        num_attention_heads=heads,
        attention_head_dim=head_width,
        cross_attention_dim=heads * head_width,
        num_layers=layers,
        in_channels=3,
        out_channels=3,
        sample_size=arena.pack.size,
        patch_size=4,
        caption_channels=384,
        use_additional_conditions=False,
    )
    _fastest_attention(network, arena.dtype)
    nothing = {"resolution": None, "aspect_ratio": None}

    def predict(x: Tensor, times: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        return network(x, encoder_hidden_states=tokens, timestep=times, encoder_attention_mask=mask, added_cond_kwargs=nothing).sample

    optimizer = OptimizerConfig(kind="adamw", learning_rate=learning_rate)
    return DiffusionPeer("pixart-small", network, predict, arena=arena, batch_size=batch_size, optimizer=optimizer)


def _fastest_attention(network: Any, dtype: str) -> None:
    """Attention written out is up to 1.5 times faster a step in bfloat16 on CPUs than the fused kernel, which is diffusers' default; in float32 it is not."""
    from diffusers.models.attention_processor import AttnProcessor

    if dtype == "bfloat16":
        network.set_attn_processor(AttnProcessor())
