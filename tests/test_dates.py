"""Publishing times: the forms the corpora use are read exactly, anything else is missing."""

import datetime as dt

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumorlib.data import dates

UTC = "2012-10-29 23:59:22+00:00"


@pytest.mark.parametrize(
    "text",
    [
        "Mon Oct 29 23:59:22 +0000 2012",
        "Mon Oct 29 23: 59: 22 +0000 2012",
        "Tue Oct 30 01:59:22 +0200 2012",
        "2012-10-29 23:59:22",
        "2012-10-29T23:59:22Z",
        "2012-10-29T23:59:22.000",
        "2012-10-30 07:59:22+08:00",
        "2012-10-30T07:59:22 +0800",
        " 1351555162 ",
        "1351555162000",
    ],
)
def test_one_moment_in_every_form(text):
    assert dates.parse_dates([text]).item() == pd.Timestamp(UTC)


@pytest.mark.parametrize(
    "text",
    ["", "23: 59: 22", "yesterday", "29/10/2012", "2012", "20121029", "2012-13-40", "2012-10-29 25:00", "135155516",
     "1351555162.5", "Mon Oct 32 23:59:22 +0000 2012", "null", "nan", "None", "１３５１５５５１６２", "-1351555162000"],
)  # fmt: skip
def test_what_is_no_time_is_missing(text):
    assert dates.parse_dates([text]).isna().all()


def test_local_times_use_the_offset_and_stamps_do_not():
    posts = pd.DataFrame(
        {"at": ["2012-10-30 07:59", "1351555162000", "2012-10-29 23:59"], "language": ["zh", "zh", ""]}
    )
    found = dates.parse_dates(posts["at"], dates.offset_hours(posts["language"]))
    assert found.dt.floor("min").nunique() == 1
    assert dates.parse_dates(["2012-10-30"], 8).item() == pd.Timestamp("2012-10-29 16:00", tz="UTC")


def test_the_index_is_kept_and_nothing_is_fine():
    assert dates.parse_dates(pd.Series(["2012-10-29", ""], index=[7, 3])).index.tolist() == [7, 3]
    assert dates.parse_dates([]).empty


@given(st.lists(st.datetimes(dt.datetime(2002, 1, 1), dt.datetime(2040, 1, 1)).map(lambda t: t.replace(microsecond=0)),
                min_size=1, max_size=8))  # fmt: skip
def test_every_form_of_any_time_reads_the_same(times):
    aware = [time.replace(tzinfo=dt.UTC) for time in times]
    forms = [f"{time:%a %b %d %H:%M:%S} +0000 {time:%Y}" for time in aware]
    forms += [time.isoformat() for time in aware] + [str(int(time.timestamp()) * 1000) for time in aware]
    assert dates.parse_dates(forms).tolist() == aware * 3


@given(st.lists(st.text(max_size=30)))
def test_no_text_breaks_it(texts):
    assert len(dates.parse_dates(texts)) == len(texts)
