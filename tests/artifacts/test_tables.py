"""Tables come back as they were written: types by declaration, texts as texts, numbers to six digits."""

import math

import pandas as pd
import pytest

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.tables import (
    TABLES,
    read_columns,
    read_table,
    select,
    write_columns,
    write_frame,
    write_table,
)

COLUMNS = {"answer": "str", "n": "Int64", "value": "float64", "right": "boolean"}


def test_texts_that_look_like_numbers_or_missing_values_stay_texts(tmp_path):
    answers = ["007", "1e5", "1987", "true", "NA", "nan", "", 'a "b",\n"c"', "Größe"]
    write_columns(tmp_path / "t.csv", [{"answer": answer} for answer in answers], COLUMNS)
    assert read_columns(tmp_path / "t.csv", COLUMNS)["answer"].tolist() == answers


def test_missing_values_come_back_as_missing_and_whole_numbers_stay_whole(tmp_path):
    rows = [{"answer": None, "n": 2**60 + 1, "value": math.nan, "right": True}, {"right": False}, {"value": -0.1}]
    write_columns(tmp_path / "t.csv", rows, COLUMNS)
    assert (tmp_path / "t.csv").read_text() == f"answer,n,value,right\n,{2**60 + 1},,true\n,,,false\n,,-0.1,\n"
    frame = read_columns(tmp_path / "t.csv", COLUMNS)
    assert dict(frame.dtypes.astype(str)) == COLUMNS
    assert frame["n"].tolist() == [2**60 + 1, pd.NA, pd.NA]
    assert frame["right"].tolist() == [True, False, pd.NA]
    assert frame["answer"].tolist() == ["", "", ""]
    assert frame["value"].isna().tolist() == [True, True, False]


def test_floats_have_six_significant_digits(tmp_path):
    write_columns(tmp_path / "t.csv", [{"value": value} for value in (1 / 3, 1234567.0, 1e-9, 5.0)], COLUMNS)
    lines = (tmp_path / "t.csv").read_text().splitlines()[1:]
    assert [line.split(",")[2] for line in lines] == ["0.333333", "1.23457e+06", "1e-09", "5"]


def test_rows_and_frames_are_written_alike_and_an_empty_table_keeps_its_types(tmp_path):
    rows = [{"model": "7", "checkpoint": "final", "subset": "all", "measure": "cosine", "value": 0.5, "n": 3}]
    write_table(tmp_path / "rows.csv", rows, "layers")
    write_table(tmp_path / "frame.csv", pd.DataFrame(rows), "layers")
    assert (tmp_path / "rows.csv").read_bytes() == (tmp_path / "frame.csv").read_bytes()
    write_table(tmp_path / "none.csv", [], "layers")
    assert dict(read_table(tmp_path / "none.csv", "layers").dtypes.astype(str)) == dict(TABLES["layers"])


def test_undeclared_columns_and_values_of_another_type_are_refused_when_written(tmp_path):
    with pytest.raises(ArtifactError, match=r"undeclared column\(s\) \['extra'\]"):
        write_columns(tmp_path / "t.csv", [{"n": 1, "extra": 2}], COLUMNS)
    with pytest.raises(ArtifactError, match="column 'n' is not of type Int64"):
        write_columns(tmp_path / "t.csv", [{"n": "many"}], COLUMNS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("answer,n,value\n", r"columns \['right'\]"),
        ("n,answer,value,right\n", "another order"),
        ("answer,n,value,right\na,1,0.5,true\nb,1\n", "row 3 has 2 cells of 4"),
        ("answer,n,value,right\na,1.5,0.5,true\n", "row 2, column 'n': '1.5'"),
        ("answer,n,value,right\na,1,0.5,True\n", "row 2, column 'right': 'True'"),
        ("", "columns"),
    ],
)
def test_damaged_tables_are_named_with_row_column_and_cell(tmp_path, content, message):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(ArtifactError, match=message) as error:
        read_columns(tmp_path / "t.csv", COLUMNS)
    assert str(tmp_path / "t.csv") in str(error.value)
    with pytest.raises(ArtifactError, match="not found"):
        read_columns(tmp_path / "absent.csv", COLUMNS)


def test_select_compares_every_named_column_and_never_matches_missing_values():
    frame = pd.DataFrame({"form": ["text", "text", "speech"], "step": pd.array([0, None, 0], dtype="Int64")})
    assert select(frame, form="text", step=0).index.tolist() == [0]


def test_wide_tables_for_people_keep_their_columns(tmp_path):
    write_frame(tmp_path / "t.csv", pd.DataFrame({"model": ["7"], "nq": [1 / 3], "right": [True]}))
    assert (tmp_path / "t.csv").read_text() == "model,nq,right\n7,0.333333,true\n"
