"""What customers write, as numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.errors import DataWarning, MissingExtraError, OptionError, notify
from clvpredict.rfm import require_column

# Frequent words of English that are rare in other languages of Europe.
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\S+",
        "the and it its it's this that these those with you your my our they their them there not "
        "don't didn't can't won't isn't wasn't have has are been were would could should will but "
        "very from which what when how just about i'm i've by she if than too",
    )
)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_NO_TEXT = re.compile(r"<[^<>]+>|https?://\S+")
# A text is judged by its words from so many on. About one in four words of English sentences is
# one of these; telegrams ("great price, fast delivery") have words of the lexicon instead.
_ENOUGH_WORDS, _LEAST_SHARE = 6, 0.1
_MOST_FOREIGN_LETTERS = 0.2
_WORTH_A_WORD = 0.2


def score_feedback(
    texts: pd.DataFrame | pd.Series | Iterable[str | None],
    *,
    text: str = "text",
    on: str = "customer_id",
    per_customer: bool = False,
) -> pd.DataFrame:
    """Score the sentiment of English texts, offline.

    The scores are those of TextBlob's PatternAnalyzer: the mean polarity of the words that its
    lexicon of about 2,900 English adjectives and adverbs knows, with negations and modifiers. It
    knows no irony and no context, and many words that matter to a shop ("late", "refund") it
    knows little or nothing of. Compare means of many texts, and not single ones.

    Parameters
    ----------
    texts : DataFrame, Series or iterable of str
        A DataFrame has the texts in the column ``text``.
    text, on : str
        Columns of a DataFrame: the texts, and the customers' ids (if it has them).
    per_customer : bool
        One row per customer instead of one per text.

    Returns
    -------
    DataFrame
        Per text, in their order, with their index: `customer_id` (if given), `sentiment` from
        −1 (bad) to 1 (good), `words`, and `known_words` (which the lexicon scored). A text
        without a known word is scored 0, as neutral. Empty and missing texts have a missing
        sentiment; HTML tags and links are no text. Per customer: `customer_id`, `sentiment` (the
        mean over their texts), `texts`, `scored_texts`; customers all of whose texts are empty
        have a missing sentiment.
        ``attrs["feedback"]`` counts texts, scored, empty, and without known words, and those
        that do not look English.

    Raises
    ------
    MissingExtraError
        If TextBlob is not installed.
    OptionError
        If the columns are not there, or hold no text.

    Warns
    -----
    DataWarning
        If a fifth of the texts or more do not look English.

    Notes
    -----
    **Other languages.** Their words are not in the lexicon, so that their texts come out as 0,
    and a few words are in it by accident ("die"). Translate them, or score them by other means
    and join those numbers by :func:`join_signals`. A text does not look English if more than
    20 % of its letters are not ASCII, or if it has 6 words or more of which fewer than 10 % are
    in the lexicon or among some 50 function words (the, and, this, you, ...). Shorter texts cannot
    be judged.

    Examples
    --------
    >>> from clvpredict.business import score_feedback
    >>> scored = score_feedback(["Great shop, I love it.", "The service was terrible.", ""])
    >>> scored["sentiment"].round(2).tolist()
    [0.65, -1.0, nan]
    """
    column, ids = _read(texts, text, on)
    if per_customer and ids is None:
        raise OptionError(
            f"per_customer=True needs the customers' ids: give a DataFrame with the columns "
            f"'{on}' and '{text}'."
        )
    written = [_NO_TEXT.sub(" ", v).strip() if isinstance(v, str) else "" for v in column]
    # Short answers repeat; each is scored once.
    place, distinct = pd.factorize(np.array([v or None for v in written], dtype=object))
    scores = _scores([str(v) for v in distinct])
    rows = np.where(place < 0, len(distinct), place)
    polarity, words, known, foreign = (
        np.append(values, end)[rows] for values, end in zip(scores, (np.nan, 0, 0, 0), strict=True)
    )
    out = pd.DataFrame(
        {
            "sentiment": polarity,
            "words": words.astype(np.int64),
            "known_words": known.astype(np.int64),
        },
        index=column.index,
    )
    scored = int((place >= 0).sum())
    strange = int(foreign.sum())
    said = {
        "texts": len(out),
        "scored": scored,
        "empty": len(out) - scored,
        "without_known_words": int(((place >= 0) & (known == 0)).sum()),
        "not_english": strange,
        "scores_of": "TextBlob, PatternAnalyzer (English)",
    }
    if strange and strange >= _WORTH_A_WORD * scored:
        notify(
            f"{strange:,} of {scored:,} texts do not look English. The lexicon is of "
            "English words: other texts come out as 0, which is not neutral but unknown. "
            "Translate them first, or leave them out.",
            DataWarning,
        )
    if ids is not None:
        out.insert(0, on, ids)
    if per_customer:
        out = _per_customer(out, on)
    out.attrs = {"feedback": said}
    return out


def _read(texts: Any, text: str, on: str) -> tuple[pd.Series, pd.Series | None]:
    if isinstance(texts, pd.DataFrame):
        column = require_column(texts, text, "text")
        ids = texts[on] if on in texts.columns else None
    elif isinstance(texts, str):
        raise OptionError("texts is one text; give a list of texts, or a column.")
    else:
        column = texts if isinstance(texts, pd.Series) else pd.Series(list(texts), dtype=object)
        ids = None
    known = column.dropna()
    if len(known) and not known.map(lambda v: isinstance(v, str)).all():
        raise OptionError(
            f"feedback must be text; these are {column.dtype}. Numbers need no "
            "scoring: join them by join_signals(table, signals)."
        )
    return column, ids


def _scores(texts: list[str]) -> tuple[npt.NDArray[Any], ...]:
    """Polarity, words, known words and whether it looks foreign, of each text."""
    try:
        from textblob.en import sentiment
    except ImportError as error:
        raise MissingExtraError("text", "score_feedback") from error
    found = []
    for written in texts:
        # What PatternAnalyzer calls, and calls twice for the words that it knew.
        score = sentiment(written)
        words = _WORD.findall(written.lower().replace("’", "'"))
        known = sum(len(terms) for terms, *_ in score.assessments)
        found.append((score[0], len(words), known, _looks_foreign(written, words, known)))
    table = np.array(found, dtype=np.float64).reshape(-1, 4)
    return tuple(table.T)


def _looks_foreign(written: str, words: list[str], known: int) -> bool:
    letters = [character for character in written if character.isalpha()]
    if sum(not c.isascii() for c in letters) > _MOST_FOREIGN_LETTERS * len(letters):
        return True
    english = known + sum(word in _FUNCTION_WORDS for word in words)
    return len(words) >= _ENOUGH_WORDS and english < _LEAST_SHARE * len(words)


def _per_customer(scored: pd.DataFrame, on: str) -> pd.DataFrame:
    nameless = int(scored[on].isna().sum())
    if nameless:
        notify(f"{nameless:,} texts have no '{on}' and are of no customer's mean.", DataWarning)
    grouped = scored.groupby(on, sort=False)["sentiment"]
    table = grouped.mean().to_frame()
    return table.assign(texts=grouped.size(), scored_texts=grouped.count()).reset_index()
