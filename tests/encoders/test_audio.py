import torch

from tonggan.encoders.audio import AudioTransformer, AudioTransformerConfig
from tonggan.modalities.spectrogram import log_mel

SMALL = AudioTransformerConfig(width=32, layers=1, heads=2)


def encoder() -> AudioTransformer:
    torch.manual_seed(0)
    made = AudioTransformer(SMALL)
    made.fit(iter(0.1 * torch.randn(4, 8192)))
    return made


def test_a_token_for_every_four_frames_with_the_second_of_its_middle() -> None:
    latent = encoder()(torch.zeros(2, 5 * 512 + 1))
    assert latent.tokens.shape == (2, 6, 32)
    assert latent.seconds is not None
    torch.testing.assert_close(latent.seconds, (torch.arange(6) * 4 + 1.5) * 128 / 16_000)
    torch.testing.assert_close(latent.pooled, latent.tokens.mean(1))


def test_bands_have_no_mean_and_a_deviation_of_one() -> None:
    heard = 0.1 * torch.randn(4, 8192, generator=torch.Generator().manual_seed(0))
    made = encoder()
    made.fit(iter(heard))
    levels = (log_mel(heard, SMALL.mel) - made.mean) / made.deviation
    torch.testing.assert_close(levels.mean((0, 2)), torch.zeros(64), rtol=0, atol=1e-4)
    torch.testing.assert_close(levels.std((0, 2)), torch.ones(64), rtol=0, atol=1e-2)


def test_a_blow_is_heard_at_its_token() -> None:
    made = encoder()
    made.blocks = torch.nn.ModuleList()  # what is heard at a token before it looks around
    quiet = torch.zeros(1, 32 * 512)
    struck = quiet.clone()
    struck[:, 10 * 512 + 200 : 10 * 512 + 300] = 0.5
    change = (made(struck).tokens - made(quiet).tokens).abs().sum(-1)[0]
    assert int(change.argmax()) == 10
    assert not change[:9].any()
    assert not change[12:].any()


def test_a_batch_changes_nothing() -> None:
    made, heard = encoder(), 0.1 * torch.randn(3, 4096)
    torch.testing.assert_close(made(heard).tokens[1:2], made(heard[1:2]).tokens, rtol=1e-4, atol=1e-5)
