"""Texts become scores that order them as people would, and what cannot be scored is told."""

import builtins

import numpy as np
import pandas as pd
import pytest

from clvpredict.business import join_signals, score_feedback
from clvpredict.errors import DataWarning, MissingExtraError, OptionError

GOOD = [
    "Excellent quality and very friendly service, I am happy with it.",
    "Great shop, I love it!",
    "The best customer support that I have had, wonderful people.",
    "Fast delivery, great price, beautiful packaging, will order again",
]
BAD = [
    "Terrible service, I am very disappointed with the product.",
    "The worst shop ever; the box was broken and the staff was rude.",
    "This is not a good product, and it was far too expensive.",
    "Awful. I hate it.",
]
NEUTRAL = ["The parcel came on Tuesday.", "It is a book about ships."]


def test_good_texts_are_above_neutral_ones_and_bad_below():
    scores = score_feedback(GOOD + NEUTRAL + BAD)["sentiment"].to_numpy()
    good, neutral, bad = np.split(scores, [len(GOOD), len(GOOD) + len(NEUTRAL)])
    assert good.min() > 0.2
    assert bad.max() < -0.1
    assert (neutral == 0).all()
    assert (np.abs(scores) <= 1).all()


@pytest.mark.reference
def test_scores_are_those_of_pattern_analyzer():
    from textblob.sentiments import PatternAnalyzer

    expected = [PatternAnalyzer().analyze(text).polarity for text in GOOD + BAD]
    assert score_feedback(GOOD + BAD)["sentiment"].tolist() == expected


def test_empty_texts_have_no_score_and_are_counted():
    got = score_feedback(pd.Series(["Great!", "", None, "  ", "???"], index=list("abcde")))
    assert got["sentiment"].isna().tolist() == [False, True, True, True, False]
    assert got.index.tolist() == list("abcde")
    said = got.attrs["feedback"]
    assert (said["texts"], said["scored"], said["empty"]) == (5, 2, 3)
    assert said["without_known_words"] == 1
    assert said["not_english"] == 0


def test_tags_links_and_kinds_of_columns():
    got = score_feedback(pd.Series(["<b>Great!</b> https://shop.example/x", pd.NA], dtype="string"))
    assert got["sentiment"].iloc[0] == 1.0
    assert got["words"].tolist() == [1, 0]
    assert len(score_feedback([])) == 0


def test_equal_texts_have_equal_scores_wherever_they_stand():
    got = score_feedback(["Great!", "Awful.", None, " Great! "])["sentiment"]
    assert got.iloc[0] == got.iloc[3] == 1.0
    assert got.iloc[1] == -1.0


@pytest.fixture
def by_customer():
    return pd.DataFrame(
        {"client": [1, 1, 2, 3], "comment": ["Great!", "Awful.", "I love it", None], "x": 1}
    )


def test_means_per_customer(by_customer):
    got = score_feedback(by_customer, text="comment", on="client", per_customer=True)
    assert got["client"].tolist() == [1, 2, 3]
    assert got["sentiment"].tolist()[:2] == [0.0, 0.5]
    assert np.isnan(got["sentiment"].iloc[2])
    assert got["texts"].tolist() == [2, 1, 1]
    assert got["scored_texts"].tolist() == [2, 1, 0]


def test_scores_are_signals(by_customer):
    table = pd.DataFrame({"customer_id": [2, 1], "clv": [1.0, 2.0]})
    scored = score_feedback(by_customer, text="comment", on="client", per_customer=True)
    with pytest.warns(DataWarning, match="1 ids of the signals"):
        got = join_signals(table, scored, on="client", columns=["sentiment"])
    assert got["sentiment"].tolist() == [0.5, 0.0]


def test_texts_of_nobody_are_told(by_customer):
    with pytest.warns(DataWarning, match="1 texts have no 'client'"):
        score_feedback(
            by_customer.assign(client=[1, None, 2, 3]),
            text="comment",
            on="client",
            per_customer=True,
        )


@pytest.mark.parametrize(
    "text",
    [
        "Das Produkt ist leider sehr schlecht und ich bin enttäuscht",
        "Je suis très content de ce produit et de la livraison",
        "Muy buena calidad pero el envio llego tarde otra vez",
        "Het product is niet goed en de levering was veel te laat",
        "Очень хорошо",
        "とても良い",
    ],
)
def test_other_languages_are_told(text):
    with pytest.warns(DataWarning, match="1 of 2 texts do not look English"):
        got = score_feedback(["I love it", text])
    assert got.attrs["feedback"]["not_english"] == 1


def test_english_texts_are_not_taken_for_others():
    said = score_feedback([*GOOD, *BAD, *NEUTRAL, "Café was naïve but fine, I'd say"]).attrs
    assert said["feedback"]["not_english"] == 0


def test_what_is_no_text(by_customer):
    with pytest.raises(OptionError, match="join_signals"):
        score_feedback([1.0, 2.0])
    with pytest.raises(OptionError, match="'text'"):
        score_feedback(by_customer)
    with pytest.raises(OptionError, match="one text"):
        score_feedback("Great!")
    with pytest.raises(OptionError, match="needs the customers' ids"):
        score_feedback(["Great!"], per_customer=True)


def test_without_the_extra(monkeypatch):
    imported = builtins.__import__

    def without(name, *rest):
        if name.startswith("textblob"):
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"clvpredict\[text\]"):
        score_feedback(["Great!"])
