import torch

from tonggan.encoders.video import PatchMerge, VideoTransformer, VideoTransformerConfig, movement_of

SMALL = VideoTransformerConfig(size=32, frames_per_second=12.5, width=32, layers=1, heads=2, stem_channels=(16, 16, 16))


def test_a_token_a_frame_with_its_second() -> None:
    torch.manual_seed(0)
    latent = VideoTransformer(SMALL)(torch.randint(0, 256, (2, 10, 3, 32, 32), dtype=torch.uint8))
    assert latent.tokens.shape == (2, 10, 32)
    assert latent.seconds is not None
    torch.testing.assert_close(latent.seconds, torch.arange(10) * 0.08)


def test_movement_is_seen_where_it_is() -> None:
    torch.manual_seed(0)
    encoder = VideoTransformer(SMALL)
    still = torch.full((1, 10, 32, 32, 3), 90, dtype=torch.uint8)
    moved = still.clone()
    moved[:, 6, 8:12, 8:12] = 200
    tokens = encoder._tokens(moved)[0]
    change = (tokens - tokens[0]).abs().sum(-1)
    assert set(change.topk(2).indices.tolist()) == {6, 7}  # when it comes and when it goes
    assert change[6] > 0.3 * tokens[0].abs().sum()  # though it is a hundredth of the picture
    quiet = encoder._tokens(still)[0]
    torch.testing.assert_close(quiet, quiet[:1].expand_as(quiet), rtol=0, atol=1e-3)


def test_merging_patches_is_a_convolution_with_a_stride() -> None:
    torch.manual_seed(0)
    merge, x = PatchMerge(3, 5, factor=4), torch.randn(2, 8, 12, 3)
    kernel = merge.weight.unflatten(1, (4, 4, 3)).permute(0, 3, 1, 2)
    wanted = torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), kernel, stride=4).permute(0, 2, 3, 1)
    torch.testing.assert_close(merge(x), wanted)


def test_what_is_glanced_at_is_known_wherever_it_is() -> None:
    torch.manual_seed(0)
    encoder = VideoTransformer(SMALL.model_copy(update={"looks": 2}))
    assert encoder.glances is not None
    frames = torch.randint(0, 256, (1, 4, 3, 32, 32), dtype=torch.uint8)
    before = encoder(frames).tokens
    torch.nn.init.normal_(encoder.glances.out.weight)
    assert (encoder(frames).tokens - before).abs().max() > 0.1  # it changed nothing while the weights were zero
    places, movement, order = torch.randn(3, 16, 16), torch.rand(3, 16), torch.randperm(16)
    found = encoder.glances(places, movement)
    torch.testing.assert_close(encoder.glances(places[:, order], movement[:, order]), found)
    assert (encoder.glances(places.flip(0), movement) - found).abs().max() > 0.1
    moving = torch.zeros(3, 16)
    moving[:, 5] = 20.0  # so much that nothing else is looked at
    other = torch.cat([torch.randn(3, 5, 16), places[:, 5:6], torch.randn(3, 10, 16)], dim=1)
    torch.testing.assert_close(encoder.glances(other, moving), encoder.glances(places, moving), rtol=1e-3, atol=1e-3)


def test_what_moves_is_known_before_it_comes_and_until_it_is_gone() -> None:
    still = torch.zeros(1, 6, 32, 32, 3)
    shown = still.clone()
    shown[:, 3, 8:12, 16:20] = 1
    changes = torch.diff(shown, dim=1, prepend=shown[:, :1])
    moved = movement_of(changes, cell=8)[0]
    assert moved.shape == (6, 16)
    assert (moved > 0).nonzero().tolist() == [[2, 6], [3, 6], [4, 6]]
    assert not movement_of(torch.zeros_like(changes), cell=8).any()
