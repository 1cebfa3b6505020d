"""Write tests/evaluation/golden_captions.json with pycocoevalcap (needs Java): python scripts/make_golden_captions.py

The sentences are our own; the tokens and figures are what the reference makes of them.
"""

import json
from pathlib import Path

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

OUT = Path(__file__).parents[1] / "tests" / "evaluation" / "golden_captions.json"
SENTENCES = [
    ("A red heart.", ["a red heart, noto style", "red heart", "A big red heart on white."]),
    ("The dog doesn't run; it can't!", ["a dog that does not run", "the dog isn't running", "It can't run."]),
    ("Two men (and a boy) play football", ["Two men and a boy are playing football.", "three people play with a ball", "Men's football game"]),
    ("a woman's hat costs $1,000 or 3.5 pounds", ["a hat for 1,000 dollars", "the woman's hat is expensive", "hats cost money..."]),
    ("an old-fashioned, well-known clock -- at 10:30 a.m.", ["an old clock", "a well-known clock at half past ten", "the clock shows 10:30"]),
    ('He said "hello" to me & you', ['"hello", he said', "he says hello to us", "He greets me and you"]),
    ("I'm sure they've gone, we'll see", ["they have gone", "I am sure they've left", "we will see"]),
    ("cat cat cat cat", ["a cat", "the cat sits", "one cat"]),
    ("A man in the U.S. rides a bike", ["a man rides a bike", "someone cycles in the U.S.", "a cyclist"]),
    ("a plate of food with rice and beans on a wooden table", ["a plate of rice and beans on a table", "food on a wooden table", "rice and beans"]),
    ("nothing alike", ["completely different words here", "another sentence", "a third one"]),
    ("a very long sentence that goes on and on and on about a small bird in a tree", ["a bird in a tree", "small bird", "bird sits"]),
]


def main() -> None:
    """Tokenize, measure, write."""
    made = {number: [{"caption": candidate}] for number, (candidate, _) in enumerate(SENTENCES)}
    truth = {number: [{"caption": each} for each in references] for number, (_, references) in enumerate(SENTENCES)}
    tokenizer = PTBTokenizer()
    made_tokens, truth_tokens = tokenizer.tokenize(made), tokenizer.tokenize(truth)
    figures = {
        "bleu": Bleu(4).compute_score(truth_tokens, made_tokens)[0],
        "rouge_l": float(Rouge().compute_score(truth_tokens, made_tokens)[0]),
        "cider_d": float(Cider().compute_score(truth_tokens, made_tokens)[0]),
    }
    rows = [
        {"candidate": candidate, "references": references, "candidate_tokens": made_tokens[n][0], "reference_tokens": truth_tokens[n]}
        for n, (candidate, references) in enumerate(SENTENCES)
    ]
    OUT.write_text(json.dumps({"figures": figures, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
