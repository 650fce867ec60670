"""CITATION.cff says what the project and its paper are."""

import tomllib

import yaml
from helpers import ROOT

import maml


def test_it_is_of_this_version_and_names_the_paper_s_authors():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert str(citation["version"]) == maml.__version__ == project["version"]
    assert citation["license"] == project["license"]
    [paper] = [each for each in citation["references"] if each["type"] == "conference-paper"]
    assert [each["family-names"] for each in paper["authors"]] == ["Finn", "Abbeel", "Levine"]
