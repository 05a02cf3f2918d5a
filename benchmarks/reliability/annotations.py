"""Keypoint files, boxes and least confidences of `fskd predict` that make no sense."""

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.reliability.predicting import KEYPOINTS, Predicting, entries
from benchmarks.reliability.trial import Place, Trial, check, check_explained

_DIGITS = "1" + "0" * 400


def _with(**more: Any) -> str:
  return json.dumps({"keypoints": KEYPOINTS} | more)


_KEYS: dict[str, str | bytes] = {
  "skeleton 3": _with(skeleton=3),
  "skeleton of lists": json.dumps({"keypoints": KEYPOINTS, "skeleton": [[["a"], "a"]]}),
  "skeleton of strangers": json.dumps(
    {"keypoints": KEYPOINTS, "skeleton": [["a", "b"]]}
  ),
  "400 digits": f'{{"nose": [{_DIGITS}, 2]}}',
  "nan": '{"nose": [NaN, 2]}',
  "infinite": '{"nose": [1e999, 2]}',
  "outside": '{"nose": [5000, 2]}',
  "text": '{"nose": ["a", "b"]}',
  "one number": '{"nose": [1]}',
  "three lists": '{"nose": [[1], [2], [3]]}',
  "deep lists": "[" * 100_000,
  "nothing marked": '{"nose": null}',
  "no names": "{}",
  "a list": "[1, 2, 3]",
  "a number": "7",
  "no JSON": "nose: 1, 2",
  "empty": "",
  "bytes": b"\xff\xfe\x00\x01",
  "box of text": _with(box="all"),
  "negative box": _with(box=[1, 1, -5, -5]),
  "box of 400 digits": _with(box=[0, 0, "#", 9]).replace('"#"', _DIGITS),
}

_BOXES: dict[str, Any] = {
  "a typo in the name": '{"qery.png": [0, 0, 40, 40]}',
  "negative": '{"query.png": [10, 10, -5, -5]}',
  "nan": '{"query.png": [NaN, 0, 40, 40]}',
  "three numbers": '{"query.png": [0, 0, 40]}',
  "400 digits": f'{{"query.png": [0, 0, {_DIGITS}, 40]}}',
  "outside": '{"query.png": [5000, 5000, 40, 40]}',
  "text": '{"query.png": "all"}',
  "a list": "[1, 2]",
  "deep lists": "[" * 100_000,
}


def read(place: Place) -> Iterator[Trial]:
  """Each must be refused with the name of the file, or of the flag."""
  tools = Predicting(place)
  query = place.work / "query.png"
  tools.picture.save(query)
  for flag, contents in (("keypoints", _KEYS), ("boxes", _BOXES)):
    for number, (name, content) in enumerate(contents.items()):

      def run(flag=flag, number=number, content=content) -> None:
        path = place.work / f"{flag}_{number}.json"
        data = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(data)
        done, _ = tools.predict(query, **{flag: path})
        check(done.status in (1, 2), f"exit {done.status}, without a word")
        named = any(
          name in done.text for name in (path.name, "query.png", "support.png")
        )
        check(named, f"names no file: {done.last[:200]}")

      yield Trial(f"{flag}: {name}", run)
  for least in ("50", "nan", "-1", "much"):

    def unlikely(least=least) -> None:
      done, _ = tools.predict(query, min_confidence=least)
      check_explained(done, "confidence")

    yield Trial(f"least confidence {least}", unlikely)

  def right() -> None:
    done, out = tools.predict(query)
    check(done.status == 0 and len(entries(out)) == 1, "not predicted")

  yield Trial("all as it should be", right)
