import pytest

from maml.configuration.renamed import check_names
from maml.files.errors import UserError


def test_each_name_of_an_older_version_is_told_with_its_new_one():
    old = {"datasets": {"a": {"source": "drawn"}, "b": {"source": "bundled"}, "c": None}}
    with pytest.raises(UserError) as raised:
        check_names(old | {"datasets": old["datasets"] | {"d": {"source": "drawn"}}})
    assert str(raised.value) == (
        "config: datasets.a.source: 'drawn' is called 'synthetic' now; "
        "datasets.d.source: 'drawn' is called 'synthetic' now"
    )


def test_a_key_of_an_older_version_is_told_with_its_new_one():
    old = {"methods": {"a": {"second_derivatives": True}, "b": {"second_derivatives": False}}}
    with pytest.raises(UserError) as raised:
        check_names(old)
    assert str(raised.value) == (
        "config: methods.a.second_derivatives: true is called `meta_gradient: full` now; "
        "methods.b.second_derivatives: false is called `meta_gradient: first-order` now"
    )


@pytest.mark.parametrize("raw", [{}, {"datasets": None}, {"datasets": []}, None, [1]])
def test_what_has_no_such_name_is_left_to_the_schema(raw):
    check_names(raw)
