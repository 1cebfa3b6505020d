"""Show, Attend and Tell (Xu et al. 2015, arXiv:1502.03044) with soft attention, its convolutional network trained from nothing as ours is.

Written from the paper: section 3.1.2 (LSTM, equations 1-3; initial state; deep output, equation 7) and 4.2.1 (doubly stochastic attention, gate beta).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tonggan.layers.vocabulary import Vocabulary

STOCHASTIC_WEIGHT = 1.0
LONGEST = 30


class ShowAttendTell(nn.Module):
    """Pictures (batch, 3, 64, 64) in [-1, 1] -> sentences, word piece by word piece."""

    def __init__(self, vocabulary: Vocabulary, *, pieces: int, channels: int = 256, width: int = 512, embedding: int = 256) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        stages: list[nn.Module] = []
        before = 3
        for index, after in enumerate((64, 128, channels, channels)):
            stages += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            stages += [nn.MaxPool2d(2)] if index < 3 else []
            before = after
        self.eye = nn.Sequential(*stages)
        self.embed = nn.Embedding(pieces, embedding)
        self.first_state = nn.Linear(channels, 2 * width)
        self.cell = nn.LSTMCell(embedding + channels, width)
        self.of_place, self.of_state, self.energy = nn.Linear(channels, 256), nn.Linear(width, 256), nn.Linear(256, 1)
        self.gate = nn.Linear(width, channels)
        self.from_state, self.from_place, self.out = nn.Linear(width, embedding), nn.Linear(channels, embedding), nn.Linear(embedding, pieces)
        self.dropout = nn.Dropout(0.3)

    def look(self, pictures: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Return the places (batch, 64, channels), their part of the attention's energy, and the first state."""
        places = self.eye(pictures.contiguous(memory_format=torch.channels_last)).flatten(2).transpose(1, 2)
        hidden, cell = self.first_state(places.mean(1)).tanh().chunk(2, dim=-1)
        return places, self.of_place(places), (hidden, cell)

    def say(self, piece: Tensor, places: Tensor, keys: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Return logits of the next piece, the attention (batch, places), and the next state."""
        attention = self.energy((keys + self.of_state(state[0]).unsqueeze(1)).tanh()).squeeze(-1).softmax(-1)
        seen = self.gate(state[0]).sigmoid() * (attention.unsqueeze(-1) * places).sum(1)
        word = self.embed(piece)
        state = self.cell(torch.cat([word, seen], dim=-1), state)
        return self.out(self.dropout((word + self.from_state(state[0]) + self.from_place(seen)).tanh())), attention, state

    def loss(self, pictures: Tensor, sentences: Sequence[str]) -> Tensor:
        """Cross-entropy of every next piece, and attention that over a sentence looks at every place about equally (equation 14)."""
        rows = [[self.vocabulary.start, *self.vocabulary.encode(each)[:LONGEST], self.vocabulary.end] for each in sentences]
        ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
        places, keys, state = self.look(pictures)
        logits, attended = [], []
        for step in range(ids.shape[1] - 1):
            made, attention, state = self.say(ids[:, step], places, keys, state)
            logits.append(made)
            attended.append(attention * (ids[:, step + 1] != 0).unsqueeze(-1))
        spoken = F.cross_entropy(torch.stack(logits, dim=1).float().flatten(0, 1), ids[:, 1:].flatten(), ignore_index=0)
        total = torch.stack(attended).sum(0)
        even = (total.sum(-1, keepdim=True) / total.shape[-1] - total).square().mean()
        return spoken + STOCHASTIC_WEIGHT * even

    @torch.no_grad()
    def describe(self, pictures: Tensor) -> list[str]:
        """Return the greedy sentence of each picture."""
        places, keys, state = self.look(pictures)
        piece = torch.full((len(pictures),), self.vocabulary.start)
        said, ended = [], torch.zeros(len(pictures), dtype=torch.bool)
        for _ in range(LONGEST):
            logits, _, state = self.say(piece, places, keys, state)
            piece = logits.argmax(-1)
            ended |= piece == self.vocabulary.end
            said.append(torch.where(ended, 0, piece))
            if ended.all():
                break
        return [self.vocabulary.decode([piece for piece in row if piece]) for row in torch.stack(said, dim=1).tolist()]
