"""Which slides make a cohort, and how their outputs are named."""

from pathlib import Path

import pytest

from cohort_slides import write_slide
from napari_nh2st.cohort import CohortSlide, find_slides
from napari_nh2st.cohort.names import with_earlier_names, with_names
from napari_nh2st.cohort.results import SlideResult
from napari_nh2st.cohort.summary import slide_of
from napari_nh2st.errors import InputError
from napari_nh2st.table_cells import write_csv


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(slides: tuple[CohortSlide, ...]) -> list[str]:
    return [slide.name for slide in slides]


def test_our_sentences_need_no_byte_order_mark_and_names_of_users_do(tmp_path: Path) -> None:
    notices = ("Values are 55 µm apart – 2 × 2.",)
    plain = SlideResult(CohortSlide(Path("a.tif"), "a"), Path("a.h5ad"), "done", notices=notices)
    row = plain.row()
    assert row["notices"] == "Values are 55 um apart - 2 x 2."
    assert plain.to_json()["notices"] == list(notices)  # JSON is always UTF-8
    write_csv(tmp_path / "plain.csv", ",".join(row.values()))
    assert (tmp_path / "plain.csv").read_bytes().startswith(b"a.tif,")
    named = SlideResult(CohortSlide(Path("Müller.tif"), "a"), Path("a.h5ad"), "done")
    assert named.row()["slide"] == "Müller.tif"
    write_csv(tmp_path / "named.csv", ",".join(named.row().values()))
    assert (tmp_path / "named.csv").read_bytes().startswith("\ufeffMüller.tif,".encode())


def test_a_folder_has_the_slides_in_it_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    touch(tmp_path / "b.SVS", tmp_path / "a.jpg", tmp_path / "notes.txt", tmp_path / ".hidden.svs")
    touch(tmp_path / "deeper" / "c.svs", tmp_path / "reports" / "c.pdf")
    store = tmp_path / "d.zarr"
    touch(store / "0" / "c.jpg")
    (store / ".zattrs").write_text(
        '{"multiscales": [{"datasets": [{"path": "0"}]}]}', encoding="utf-8"
    )
    (store / ".zgroup").write_text('{"zarr_format": 2}', encoding="utf-8")
    found = find_slides([tmp_path])
    assert names(found.slides) == ["a", "b", "d"]
    assert found.notices == (
        "1 file in no slide format left out: notes.txt",
        "1 subfolder has slides as well (deeper), which are not looked into; give "
        f"'{tmp_path}/**/*' to take those too",
    )
    assert names(find_slides([f"{tmp_path}/**/*"]).slides) == ["a", "b", "d", "c"]


def test_slides_at_urls_are_listed_as_they_are_and_asked_for_later(tmp_path: Path) -> None:
    table = tmp_path / "slides.csv"
    address = "https://me:secret@no-such-host.invalid/b.svs?sig=secret"
    table.write_text(f"slide,mpp\n{address},0.5\ns3://bucket/c.svs,\n", encoding="utf-8")
    (first, second) = find_slides([table]).slides
    assert (first.name, first.mpp, second.name) == ("b", 0.5, "c")
    assert first.path.url == address
    assert str(first.path) == "https://no-such-host.invalid/b.svs?…"
    found = find_slides(["https://no-such-host.invalid/a?.svs", "https://x.invalid/a"])
    assert len(set(names(found.slides))) == 2
    with pytest.raises(InputError, match="download the table; its slides may stay where they are"):
        find_slides(["https://no-such-host.invalid/slides.csv"])


def test_one_slide_of_a_dicom_series_is_taken(tmp_path: Path) -> None:
    touch(*(tmp_path / "series" / f"{k}.dcm" for k in range(3)), tmp_path / "other" / "0.dcm")
    found = find_slides([tmp_path / "**" / "*"])
    assert [s.path.parent.name for s in found.slides] == ["other", "series"]


def test_patterns_look_into_folders_but_not_into_stores(tmp_path: Path) -> None:
    store = tmp_path / "x" / "d.zarr"
    touch(tmp_path / "x" / "a.svs", store / "0" / "c.jpg")
    (store / ".zattrs").write_text(
        '{"multiscales": [{"datasets": [{"path": "0"}]}]}', encoding="utf-8"
    )
    (store / ".zgroup").write_text('{"zarr_format": 2}', encoding="utf-8")
    assert names(find_slides([tmp_path / "**" / "*"]).slides) == ["a", "d"]
    with pytest.raises(InputError, match="no slide has a name like that"):
        find_slides([tmp_path / "*.ndpi"])


def test_a_link_to_a_folder_above_repeats_no_slide(tmp_path: Path) -> None:
    touch(tmp_path / "a.svs", tmp_path / "x" / "b.svs")
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "x.svs").symlink_to(tmp_path / "x" / "b.svs")  # a name of its own: a slide
    found = find_slides([tmp_path / "**" / "*.svs"]).slides
    expected = [tmp_path / name for name in ("a.svs", "x/b.svs", "x.svs")]
    assert [slide.path for slide in found] == expected


def test_a_slide_that_is_named_twice_is_one(tmp_path: Path) -> None:
    touch(tmp_path / "a.svs")
    assert len(find_slides([tmp_path, tmp_path / "a.svs", tmp_path / "." / "*.svs"]).slides) == 1


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["x/a.svs", "y/a.svs", "y/b.svs"], ["x-a", "y-a", "b"]),
        (["s/x/a.svs", "t/x/a.svs"], ["s-x-a", "t-x-a"]),
        (["x/a.svs", "x/A.svs"], None),
        (["x/a.svs", "x/a.tif"], ["a-svs", "a-tif"]),
        (["x/a.svs", "y/a.svs", "z/x-a.svs"], None),
    ],
)
def test_no_two_outputs_have_one_name(
    tmp_path: Path, paths: list[str], expected: list[str] | None
) -> None:
    touch(*(tmp_path / path for path in paths))
    found = names(find_slides([tmp_path / path for path in paths]).slides)
    assert len({name.casefold() for name in found}) == len(paths)
    assert expected is None or found == expected


def test_a_table_names_slides_with_what_belongs_to_them(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "scans" / "a.tif")
    (tmp_path / "model").mkdir()
    for name in ("tumour", "stroma"):
        (tmp_path / f"{name}.geojson").write_text(
            '{"type": "Polygon", "coordinates": [[[0, 0], [90, 0], [90, 90], [0, 0]]]}',
            encoding="utf-8",
        )
    table = tmp_path / "slides.csv"
    table.write_text(
        "Slide;mpp;model;region;Donor;batch\n"
        "scans/a.tif;0.5;model;tumour.geojson;P1;7\n"
        f"{slide};;her2-breast-demo;stroma.geojson;P2;\n",
        encoding="utf-8",
    )
    first, second = find_slides([table], mpp=0.25).slides
    assert (first.path, second.path) == (slide, slide)
    assert (first.mpp, second.mpp) == (0.5, 0.25)
    assert (first.model, second.model) == (str(tmp_path / "model"), "her2-breast-demo")
    assert first.region == tmp_path / "tumour.geojson"
    assert first.columns == {"Donor": "P1", "batch": "7"}
    assert (first.name, second.name) == ("a-tumour-model", "a-stroma-her2-breast-demo")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table is empty"),
        ("slide\n", "it has no slide"),
        ("slides,mpp\na.tif,1\n", "the column slide is missing; is it 'slides'?"),
        ("slide,mpp,MPP\na.tif,1,1\n", "the column 'mpp' occurs twice"),
        ("slide,tiles\na.tif,1\n", "'tiles' is a column of the summary"),
        ("slide,mpp\nb.tif,0.5\nc.tif,0.5\n", "row 2, column slide: there is no .*b.tif"),
        ("slide,mpp\na.tif,wide\n", "row 2, column mpp: 'wide' is not a µm/px"),
        ("slide,region\na.tif,a.tif\n", "row 2, column region: .* is not GeoJSON"),
        ("slide,mpp\n,1\n", "row 2, column slide: it is empty"),
        ("slide,mpp\na.tif,1,2\n", "row 2: 3 cells for 2 columns"),
    ],
)
def test_what_is_wrong_in_a_table_is_told_with_row_and_column(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "a.tif").write_text("no slide", encoding="utf-8")
    table = tmp_path / "slides.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        find_slides([table])


def test_a_missing_slide_does_not_stop_the_others(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.tif")
    table = tmp_path / "slides.csv"
    names = ["a.tif", *(f"gone {number}.tif" for number in range(5))]
    table.write_text("slide;mpp\n" + "".join(f"{name};0,5\n" for name in names), encoding="utf-8")
    found = find_slides([table])
    assert [each.path for each in found.slides] == [tmp_path / name for name in names]
    assert {each.mpp for each in found.slides} == {0.5}
    assert found.slides[0].path == slide
    first, *_, last = found.notices
    assert first.endswith(f"row 3, column slide: there is no {tmp_path / 'gone 0.tif'}")
    assert last == "2 more slides are missing"


def test_a_column_that_may_be_misspelt_is_told(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif")
    table = tmp_path / "slides.csv"
    table.write_text("slide,regoin\na.tif,x\n", encoding="utf-8")
    (notice,) = find_slides([table]).notices
    assert "'regoin' is kept but not used; if you mean region, rename it" in notice
    with pytest.raises(InputError, match="give it alone"):
        find_slides([table, tmp_path / "a.tif"])


def test_a_row_of_the_summary_is_its_slide_again(tmp_path: Path) -> None:
    region, tissue = tmp_path / "r.geojson", tmp_path / "t.png"
    slide = CohortSlide(
        tmp_path / "a.svs", "a-r", 0.25271, "m", region, tissue, "2", {"donor": "P1"}
    )
    row = SlideResult(slide, tmp_path / "a-r.h5ad", "waiting").row()
    again = slide_of(row)
    assert vars(again) == vars(slide)
    assert again.identity == slide.identity


def test_a_new_slide_takes_no_name_that_is_taken(tmp_path: Path) -> None:
    earlier = [CohortSlide(tmp_path / "x" / "a.svs", "a")]
    first, second = with_earlier_names(
        with_names([CohortSlide(tmp_path / "y" / "A.svs"), *earlier]), earlier, ["a"]
    )
    assert (first.name, second.name) == ("y-A", "a")
    # the same slide in another region, of which the first had none
    region = CohortSlide(tmp_path / "x" / "a.svs", region=tmp_path / "rim.geojson")
    (named,) = with_earlier_names(with_names([region]), earlier, ["a"])
    assert named.name == "a-rim"


def test_a_new_slide_never_gets_the_name_that_another_one_keeps() -> None:
    one, other = CohortSlide(Path("x/a.tif"), name="a"), CohortSlide(Path("y/b.tif"), name="a")
    for slides in ((one, other), (other, one)):
        given = [each.name for each in with_earlier_names(slides, [one], [])]
        assert len({name.casefold() for name in given}) == 2
        assert given[slides.index(one)] == "a"
