"""Draw docs/gallery.png: python scripts/make_gallery.py OUT.png GROUP [GROUP ...] [--model emoji-64] [--each 6]

For each group of emoji, in the order given, the first rows of `test_pair` (in the evaluation's own order, with its own seeds): what the model draws, and
below it the drawing that it never saw.
"""

from pathlib import Path
from typing import Annotated

import typer

from tonggan.data.pack import ensure_pack
from tonggan.errors import UserError, nearest
from tonggan.evaluation.drawing import choose
from tonggan.evaluation.gallery import packed_picture
from tonggan.files import replacing
from tonggan.modalities.sheet import contact_sheet
from tonggan.pipeline import Tonggan


def main(out: Path, groups: list[str], model: str = "emoji-64", each: Annotated[int, typer.Option(min=1)] = 6, cell: int = 128) -> None:
    """Draw the sheet."""
    loaded = Tonggan.from_pretrained(model)
    data = loaded.recipe.data
    pack = ensure_pack(Path(data.path), framing=data.framing, cache=Path("runs/packs"))
    samples = choose(pack, split="test_pair", language="en", phrasings=loaded.phrasings, seed=0, limit=None).samples
    pictures, captions = [], []
    for group in groups:
        rows = [sample for sample in samples if sample.tags.get("group") == group][:each]
        if len(rows) < each:
            raise UserError(
                f"group '{group}' has {len(rows)} rows, not {each}.{nearest(group, {str(sample.tags.get('group')) for sample in samples})}"
            )
        pictures += loaded.generate([row.caption for row in rows], to="image", seeds=[row.seed for row in rows])
        captions += [row.caption for row in rows]
        pictures += [packed_picture(pack, row.index) for row in rows]
        captions += ["(the original)" if column else f"(the original; {group})" for column in range(each)]
    with replacing(out) as beside:
        contact_sheet(pictures, captions, columns=each, cell=cell).save(beside, format="PNG", optimize=True)


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        raise SystemExit(f"make_gallery: {error}") from error
