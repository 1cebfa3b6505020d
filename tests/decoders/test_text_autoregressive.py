import pytest
import torch
from torch.nn import functional as F

from tonggan.decoders.text_autoregressive import TextAutoregressive, TextAutoregressiveConfig, typeset
from tonggan.errors import UserError
from tonggan.latent.record import Latent
from tonggan.layers.transformer import Past
from tonggan.modalities.text import Caption

SENTENCES = [
    Caption("A red heart", language="en"),
    Caption("红心", language="zh"),
    Caption("a blue square!", language="en"),
    Caption("绿色的圆", language="zh"),
]


@pytest.fixture
def decoder() -> TextAutoregressive:
    torch.manual_seed(0)
    made = TextAutoregressive(
        TextAutoregressiveConfig(latent_width=16, width=32, layers=2, heads=2, vocabulary=320, max_tokens=24, label_smoothing=0.0)
    )
    made.fit(SENTENCES * 2)
    return made


@pytest.fixture
def latent() -> Latent:
    torch.manual_seed(1)
    mask = torch.ones(4, 6, dtype=torch.bool)
    mask[1, 3:] = False
    return Latent(torch.randn(4, 6, 16), mask, F.normalize(torch.randn(4, 16), dim=-1))


def learn(decoder: TextAutoregressive, latent: Latent, steps: int = 150) -> float:
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = decoder.loss(latent, SENTENCES, randomness=torch.Generator()).total
        loss.backward()
        optimizer.step()
    return float(loss)


def write(decoder: TextAutoregressive, latent: Latent, **settings: object) -> list[Caption]:
    with torch.no_grad():
        return decoder.eval().generate(latent, against=latent, seeds=list(range(len(latent))), settings=decoder.default_settings() | settings)


def mean_log_probability(decoder: TextAutoregressive, latent: Latent) -> torch.Tensor:
    """Return (4,) the mean log-probability of each sentence's tokens, its end included, read off the whole sentence at once."""
    ids = decoder.sentences_to_ids(SENTENCES)
    logs = decoder(ids[:, :-1], decoder.read(latent))[:, 1:].log_softmax(-1)
    real = ids[:, 2:] != 0
    return (logs.gather(-1, ids[:, 2:, None]).squeeze(-1) * real).sum(1) / real.sum(1)


def test_four_sentences_are_learned_by_heart_in_their_languages(decoder: TextAutoregressive, latent: Latent) -> None:
    assert learn(decoder, latent) < 0.05
    english, chinese = write(decoder, latent, language="en"), write(decoder, latent, language="zh")
    assert [english[0], chinese[1], english[2], chinese[3]] == SENTENCES
    assert english[0].language == "en"
    assert [str(each) for each in write(decoder, latent, language="en", num_beams=1)] == english
    scores = mean_log_probability(decoder, latent)
    assert english[0].score == pytest.approx(float(scores[0]), abs=1e-3)
    assert float(scores.min()) > -0.1


def test_one_token_a_pass_is_the_whole_at_once(decoder: TextAutoregressive, latent: Latent) -> None:
    ids = decoder.sentences_to_ids(SENTENCES)
    with torch.no_grad():
        contexts = decoder.read(latent)
        whole = decoder(ids, contexts)
        pasts = [Past() for _ in contexts]
        parts = [decoder(ids[:, :2], contexts, pasts)] + [decoder(ids[:, i : i + 1], contexts, pasts, position=i) for i in range(2, ids.shape[1])]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-4, atol=1e-4)


def test_later_tokens_and_masked_tokens_are_not_seen(decoder: TextAutoregressive, latent: Latent) -> None:
    ids = decoder.sentences_to_ids(SENTENCES)
    changed = ids.clone()
    changed[:, 4:] = 5
    other = Latent(latent.tokens.clone(), latent.mask, latent.pooled)
    other.tokens[1, 3:] = 100.0
    with torch.no_grad():
        whole = decoder(ids, decoder.read(latent))
        torch.testing.assert_close(decoder(changed, decoder.read(latent))[:, :4], whole[:, :4])
        torch.testing.assert_close(decoder(ids, decoder.read(other)), whole)


def test_a_sentence_hangs_on_its_picture_alone_and_sampling_on_its_seed(decoder: TextAutoregressive, latent: Latent) -> None:
    learn(decoder, latent, steps=40)
    first = Latent(latent.tokens[:1], latent.mask[:1], latent.pooled[:1])
    assert write(decoder, first)[0] == write(decoder, latent)[0]
    assert write(decoder, first, temperature=1.0)[0] == write(decoder, latent, temperature=1.0)[0]


def test_mistakes(decoder: TextAutoregressive, latent: Latent) -> None:
    with pytest.raises(UserError, match="not trained on language 'fr'"):
        write(decoder, latent, language="fr")
    with pytest.raises(UserError, match="num_beams must be at least 1"):
        write(decoder, latent, num_beams=0)
    with pytest.raises(UserError, match="temperature must be a number, not 'hot'"):
        write(decoder, latent, temperature="hot")
    for settings, said in (
        ({"vocabulary": 258}, "258 pieces are too few: .* are 259"),
        ({"vocabulary": 260, "languages": ("en", "zh")}, "a vocabulary of 260 pieces has no room .*: 261 is the least"),
        ({"max_tokens": 2}, "greater than or equal to 3"),
    ):
        with pytest.raises(ValueError, match=said):
            TextAutoregressive(TextAutoregressiveConfig.model_validate(settings))


def test_no_more_is_written_than_was_asked_for(decoder: TextAutoregressive, latent: Latent) -> None:
    learn(decoder, latent)
    vocabulary = decoder.known_vocabulary()
    for tokens in (1, 2):
        assert write(decoder, latent, num_beams=1, max_new_tokens=tokens)[0] == vocabulary.decode(vocabulary.encode(SENTENCES[0])[:tokens])


def test_ids_that_the_vocabulary_lacks_are_neither_learned_nor_written(decoder: TextAutoregressive, latent: Latent) -> None:
    size = decoder.known_vocabulary().size
    assert size < decoder.config.vocabulary
    decoder.config = decoder.config.model_copy(update={"label_smoothing": 0.1})
    decoder.loss(latent, SENTENCES, randomness=torch.Generator()).total.backward()
    moved = decoder.embed.weight.grad
    assert moved is not None
    assert moved[:size].any()
    assert not moved[size:].any()
    assert decoder(decoder.sentences_to_ids(SENTENCES), decoder.read(latent)).shape[-1] == size


def test_commas_are_those_of_the_language() -> None:
    assert typeset("红心, noto 风格", "zh") == "红心，noto 风格"
    assert typeset("red heart, noto style", "en") == "red heart, noto style"
