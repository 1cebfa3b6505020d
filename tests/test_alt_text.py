import base64
import codecs
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tonggan.alt_text import look_through, pages_in, read_page, write_alternatives
from tonggan.errors import UserError
from tonggan.modalities.text import Caption
from tonggan.pipeline import Tonggan

PAGE = """<!DOCTYPE html>\r
<html><head><meta charset="{charset}"><title>Été 红</title></head><body>\r
<!-- <img src="red-bar.png"> --><script>let a = "<img src='x'>";</script>\r
<IMG
  src="red-bar.png" class='a'><img alt="" src="blue-bar.png"><img src="blue-bar.png" alt="kept"/>
<img src=blue-bar.png?v=2><img src="gone.png"><img src="https://example.org/a.png"><img><img role="presentation" src="red-bar.png">
<img src="{data}">
</body></html>
"""


@pytest.fixture
def site(shapes: Path, tmp_path: Path) -> Path:
    for name in ("red-bar.png", "blue-bar.png"):
        shutil.copy(shapes / name, tmp_path)
    return tmp_path


def page(site: Path, charset: str) -> Path:
    data = base64.b64encode((site / "red-bar.png").read_bytes()).decode()
    path = site / "index.html"
    path.write_bytes(PAGE.format(charset=charset, data=f"data:image/png;base64,{data}").encode(charset, "xmlcharrefreplace"))
    return path


@pytest.mark.parametrize("charset", ["utf-8", "gbk", "iso-8859-1"])
def test_only_what_lacks_a_text_gets_one(describer: Tonggan, site: Path, charset: str) -> None:
    index = page(site, charset)
    before = index.read_bytes()
    found = look_through(index, lambda pictures: describer.generate(list(pictures), to="text", settings={"language": "zh"}), root=site)
    assert [each.source[:14] for each in found] == ["red-bar.png", "blue-bar.png?v", "gone.png", "https://exampl", "", "data:image/png"]
    assert ["no such file" in found[2].problem, "on the network" in found[3].problem, "no src" in found[4].problem] == [True] * 3
    assert [each.said is not None for each in found] == [True, True, False, False, False, True]
    assert found[0].line == 4
    backup = write_alternatives(index, found)
    assert backup.read_bytes() == before
    text, _ = read_page(index)
    assert 'alt="kept"' in text
    for each in found:
        if each.said:
            shown = f' alt="{each.said}"'.encode(charset, "xmlcharrefreplace").decode(charset)
            assert shown in text
            text = text.replace(shown, "", 1)
    assert text.encode(charset, "xmlcharrefreplace") == before
    assert [each.source[:8] for each in look_through(index, lambda pictures: [], root=site) if not each.problem] == []
    write_alternatives(index, [])
    assert (site / "index.html.bak1").is_file()


@pytest.mark.parametrize(
    ("mark", "encoding"), [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"), (b"", "utf-8")]
)
def test_encoding_and_byte_order_mark_stay_as_they_were(site: Path, mark: bytes, encoding: str) -> None:
    index, words = site / "index.html", '<title>Été 红</title>\r\n<img src="red-bar.png"><img src="gone.png">'
    index.write_bytes(mark + words.encode(encoding))
    found = look_through(index, lambda pictures: [Caption("红条", score=-0.1) for _ in pictures], root=site)
    assert [each.source for each in found] == ["red-bar.png", "gone.png"]
    write_alternatives(index, found)
    assert index.read_bytes() == mark + words.replace('<img src="red', '<img alt="红条" src="red').encode(encoding)


def test_a_page_that_changes_meanwhile_is_left_alone(describer: Tonggan, site: Path) -> None:
    index = page(site, "utf-8")
    found = look_through(index, lambda pictures: describer.generate(list(pictures), to="text"), root=site)
    changed = index.read_bytes().replace(b"<title>", b"<title>new: ")
    index.write_bytes(changed)
    with pytest.raises(UserError, match="changed while"):
        write_alternatives(index, found)
    assert index.read_bytes() == changed
    assert not list(site.glob("*.bak*"))


def test_pages_that_cannot_be_read(site: Path) -> None:
    (site / "wrong.html").write_bytes('<meta charset="utf-8"><img src="a.png">红'.encode("gbk"))
    with pytest.raises(UserError, match="not text in utf-8"):
        read_page(site / "wrong.html")
    with pytest.raises(UserError, match="no such file"):
        pages_in(site / "nowhere")
    (site / "empty").mkdir()
    with pytest.raises(UserError, match="holds no page"):
        pages_in(site / "empty")


def test_an_address_that_is_none_stops_nothing(site: Path) -> None:
    (site / "index.html").write_text('<img src="https://[domain]/logo.png"><img src="red-bar.png">')
    found = look_through(site / "index.html", lambda pictures: [Caption("red", score=-0.1) for _ in pictures], root=site)
    assert "no address that can be read" in found[0].problem
    assert [each.said for each in found] == [None, "red"]


def test_links_and_permissions_of_a_page_stay(site: Path) -> None:
    (site / "shared").mkdir()
    page = site / "shared" / "index.html"
    page.write_text('<img src="../red-bar.png">')
    page.chmod(0o600)
    link = site / "linked.html"
    link.symlink_to(Path("shared") / "index.html")
    found = look_through(link, lambda pictures: [Caption("red", score=-0.1) for _ in pictures], root=site)
    assert found[0].problem  # a page's pictures are those beside the name that it is read by
    backup = write_alternatives(link, [replace(found[0], said=Caption("red", score=-0.1))])
    assert link.is_symlink()
    assert page.read_text() == '<img alt="red" src="../red-bar.png">'
    assert (backup.parent, [file.stat().st_mode & 0o777 for file in (page, backup)]) == (page.parent, [0o600, 0o600])
