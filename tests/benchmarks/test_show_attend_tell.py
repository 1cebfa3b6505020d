import torch
from peers.show_attend_tell import ShowAttendTell

from tonggan.layers.vocabulary import Vocabulary


def test_four_sentences_are_learned_by_heart() -> None:
    torch.manual_seed(0)
    sentences = ["a red heart", "a blue fish that swims", "红心", "ein Haus"]
    peer = ShowAttendTell(Vocabulary.train(sentences, size=300, lowercase=False), pieces=300, channels=32, width=64, embedding=32)
    pictures = torch.rand(4, 3, 64, 64) * 2 - 1
    optimizer = torch.optim.Adam(peer.parameters(), lr=5e-3)
    for _ in range(160):
        optimizer.zero_grad()
        peer.loss(pictures, sentences).backward()
        optimizer.step()
    peer.eval()
    assert peer.describe(pictures) == sentences
