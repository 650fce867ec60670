"""The reader of YAML, against PyYAML, which reads YAML 1.1, and the rules of YAML 1.2."""

import contextlib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from maml.configuration.unambiguous import dump, parse

AMBIGUOUS = [
    "yes",
    "Yes",
    "NO",
    "on",
    "Off",
    "010",
    "-010",
    "08",
    "0o10",
    "0b11",
    "1_000",
    "1:30",
    "1:30:15.5",
    "1e-3",
    "1.0e3",
    "-.5",
    "12e03",
    "=",
    "2017-08-06",
    "2017-08-06T10:00:00Z",
]

# but for what PyYAML takes for the end of a line
texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("8", 8),
        ("-0", 0),
        ("0x10", 16),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1.0e-3", 0.001),
        ("1.0e+20", 1e20),
        ("~", None),
        ("", None),
        ("y", "y"),
        ("paper", "paper"),
        ("1.5.2", "1.5.2"),
        ("'no'", "no"),
        ('"010"', "010"),
        ("!!str yes", "yes"),
        ("a: &a {b: 1}\nc: {<<: *a, b: 2}", {"a": {"b": 1}, "c": {"b": 2}}),
        ("[{a: 1}, {a: 2}]", [{"a": 1}, {"a": 2}]),
    ],
)
def test_what_every_version_reads_alike_is_read(text, value):
    assert parse(text) == value
    assert yaml.safe_load(text) == value


@pytest.mark.parametrize("text", AMBIGUOUS)
@pytest.mark.parametrize("place", ["{}", "[{}]", "a: {}", "{}: a", "a: {{b: [1, {}]}}", "&x {}"])
def test_what_versions_read_differently_is_refused(text, place):
    with pytest.raises(yaml.MarkedYAMLError, match="not the same in every version") as raised:
        parse(place.format(text))
    assert f"`{text}`" in raised.value.problem


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3", 3),
        ("x:\n  a: 1\n  a: 1", 3),
        ("[{a: 1, a: 2}]", 1),
        ("a: 1\n'a': 2", 2),
        ("1: a\n'1': b", 2),
        ("x: &x {a: 1}\ny: &y {b: 1}\nz:\n  <<: *x\n  <<: *y", 5),
    ],
)
def test_a_key_that_stands_twice_is_refused(text, line):
    with pytest.raises(yaml.MarkedYAMLError, match="stands twice") as raised:
        parse(text)
    assert raised.value.problem_mark.line + 1 == line


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    texts,
    st.from_regex(r"[-+0-9._:eox]+", fullmatch=True),
    st.sampled_from(["no", "on", "010", "1e-3", "~", "null", "1_000", "2017-08-06"]),
)


@given(st.dictionaries(texts, st.one_of(scalars, st.lists(scalars))))
def test_what_is_written_is_read_back(content):
    assert parse(dump(content)) == content


@given(st.text())
def test_no_text_makes_it_crash(text):
    with contextlib.suppress(yaml.YAMLError, ValueError, RecursionError):
        parse(text)
