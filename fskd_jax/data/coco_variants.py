"""Brings the COCO files of many tools into the one form that `coco_file` checks.

Roboflow adds a category without keypoints, MMPose leaves out the names of keypoints,
scripts write ids as texts, and so on. What a file does not say is told in notes, and
what it says wrongly is left for the checks.
"""

import collections
import posixpath
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from fskd_jax.data import coco_skeletons, coco_values
from fskd_jax.messages import join_first, shown

Entries = list[dict[str, Any]]
Size = tuple[int, int]


class Standard(NamedTuple):
  """A file in the form that is checked.

  Attributes:
    images: Its images.
    categories: Those that have keypoints.
    annotations: Those with keypoints of a category.
    notes: What was left out or made, with counts.
  """

  images: Entries
  categories: Entries
  annotations: Entries
  notes: list[str]


def standard(
  content: Mapping[str, Entries], stored_size: Callable[[str], Size | None]
) -> Standard:
  """Returns the entries of a file in one form.

  Args:
    content: The lists images, annotations and categories.
    stored_size: A function that returns the size of an image file near the labels,
      None if it is not there; for entries without width and height.
  """
  notes: list[str] = []
  images, image_of = _numbered(content["images"])
  led = [shown(e["file_name"]) for e in images if _leads_out(e.get("file_name"))]
  if led:
    notes.append(
      f"{len(led)} images whose path leads out of the folder of the images are looked "
      f"for in it: {join_first(led, ', ')}"
    )
  images = [_image(entry) for entry in images]
  _add_sizes(images, stored_size, notes)
  categories, category_of = _numbered(content["categories"])
  annotations, _ = _numbered(content["annotations"])
  if annotations and not any("id" in entry for entry in annotations):
    annotations = [{**e, "id": number} for number, e in enumerate(annotations, 1)]
  for entry in annotations:
    for key, known in (("image_id", image_of), ("category_id", category_of)):
      if key in entry and (number := known.get(_id_text(entry[key]))) is not None:
        entry[key] = number
  _tell_other_lists(annotations, notes)
  categories = _named(categories, annotations, notes)
  categories, annotations = _with_keypoints(categories, annotations, notes)
  categories, annotations = _told_apart(categories, annotations, notes)
  coco_skeletons.mend(categories, notes)
  _mend_values(images, categories, annotations, notes)
  annotations = _with_boxes(images, annotations, notes)
  return Standard(images, categories, annotations, notes)


def _id_text(value: Any) -> str | None:
  """Returns an id as a text, by which 1, 1.0 and "1" are the same."""
  if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
    value = int(value)
  is_id = isinstance(value, str | int) and not isinstance(value, bool)
  return str(value).strip() if is_id else None


def _numbered(entries: Entries) -> tuple[Entries, dict[str | None, int]]:
  """Returns copies whose ids are whole numbers, and these by the text of the old."""
  texts = [_id_text(entry.get("id")) for entry in entries]
  known: dict[str | None, int] = {}
  are_numbers = all(not isinstance(entry.get("id"), str) for entry in entries)
  for text in texts:
    if text is not None:
      known.setdefault(text, int(text) if are_numbers else len(known) + 1)
  copies = [
    {**entry} if text is None else {**entry, "id": known[text]}
    for entry, text in zip(entries, texts)
  ]
  return copies, known


def _image(entry: dict[str, Any]) -> dict[str, Any]:
  name = entry.get("file_name", entry.get("filename", entry.get("path")))
  if isinstance(name, str):
    entry["file_name"] = _relative(name)
  for key in ("width", "height"):
    value = entry.get(key)
    if isinstance(value, float) and value.is_integer() and value < 1e9:
      entry[key] = int(value)
  return entry


def _leads_out(name: Any) -> bool:
  if not isinstance(name, str):
    return False
  path = name.replace("\\", "/")
  return path.startswith("/") or path[1:3] == ":/" or ".." in path.split("/")


def _relative(name: str) -> str:
  """Returns a path from another computer as one below a folder, with "/"."""
  if not name.strip():
    return name
  path = name.replace("\\", "/")
  if path[1:3] == ":/":  # a drive of Windows
    path = path[3:]
  parts = [part for part in posixpath.normpath(path).split("/") if part != ".."]
  return "/".join(parts).lstrip("/") or name


def _add_sizes(
  images: Entries, stored_size: Callable[[str], Size | None], notes: list[str]
) -> None:
  made = 0
  for entry in images:
    is_bare = entry.get("width") is None and entry.get("height") is None
    if is_bare and isinstance(entry.get("file_name"), str):
      size = stored_size(entry["file_name"])
      if size:
        entry["width"], entry["height"] = size
        made += 1
  if made:
    notes.append(f"the sizes of {made} images are those of their files")


def _tell_other_lists(annotations: Entries, notes: list[str]) -> None:
  """Notes lists of points beside "keypoints", as COCO-WholeBody has for face and hands.

  No category of the file names them.
  """
  counts = collections.Counter(
    key
    for entry in annotations
    for key, value in entry.items()
    if isinstance(key, str) and ("kpts" in key or key.startswith("keypoints_"))
    if isinstance(value, list) and any(_flat(value))
  )
  if counts:
    told = ", ".join(f"{key} ({count})" for key, count in counts.items())
    notes.append(f"left out: lists of points that no category names: {told}")


def _named(categories: Entries, annotations: Entries, notes: list[str]) -> Entries:
  """Gives numbers as names to keypoints that are labelled but have none."""
  counts: dict[Any, set[int]] = collections.defaultdict(set)
  for entry in annotations:
    values, crowd = entry.get("keypoints"), entry.get("iscrowd")
    if coco_values.are_given(values) and not crowd and any(_flat(values)):
      flat = coco_values.keypoints(values, None).flat
      counts[_key(entry.get("category_id"))].add(len(flat) // 3)
  for entry in categories:
    listed, found = entry.get("keypoints"), counts[_key(entry.get("id"))]
    if entry.get("name") is None:
      entry["name"] = f"category {entry.get('id')}"
    if isinstance(listed, list) and listed:
      entry["keypoints"] = [
        str(n) if coco_skeletons.is_integer(n) else n for n in listed
      ]
    elif len(found) == 1 and listed in (None, []):
      (count,) = found
      entry["keypoints"] = [str(number) for number in range(1, count + 1)]
      notes.append(
        f"category {shown(entry['name'])} has no names of keypoints; they are called "
        f"1 .. {count}"
      )
  return categories


def _flat(values: Iterable[Any]) -> list[Any]:
  return [v for row in values for v in (row if isinstance(row, list) else [row])]


def _key(value: Any) -> Any:
  return value if isinstance(value, str | int | float | None) else repr(value)


def _with_keypoints(
  categories: Entries, annotations: Entries, notes: list[str]
) -> tuple[Entries, Entries]:
  """Leaves out categories without keypoints, and annotations without any."""
  bare = {
    _key(entry["id"]): entry["name"]
    for entry in categories
    if coco_skeletons.is_integer(entry.get("id"))
    and entry.get("keypoints") in (None, [])
  }
  if len(bare) == len(categories):
    return categories, annotations  # refused with the reason
  used = collections.Counter(_key(entry.get("category_id")) for entry in annotations)
  for number, name in bare.items():
    notes.append(
      f"left out: category {shown(name)} without keypoints, and its {used[number]} "
      "annotations"
    )
  kept = [e for e in annotations if _key(e.get("category_id")) not in bare]
  given = [
    entry
    for entry in kept
    if entry.get("keypoints") not in (None, []) or entry.get("iscrowd")
  ]
  if len(given) < len(kept):
    notes.append(f"left out: {len(kept) - len(given)} annotations without keypoints")
  return [e for e in categories if _key(e.get("id")) not in bare], given


def _told_apart(
  categories: Entries, annotations: Entries, notes: list[str]
) -> tuple[Entries, Entries]:
  """Joins categories of one name and the same keypoints; renames other namesakes."""
  first: dict[str, dict[str, Any]] = {}
  same: dict[Any, Any] = {}
  kept = []
  for entry in categories:
    name = entry["name"]
    other = first.get(name) if isinstance(name, str) else None
    if other is None or other.get("id") == entry.get("id"):
      if isinstance(name, str):
        first[name] = entry
      kept.append(entry)
    elif other.get("keypoints") == entry.get("keypoints"):
      same[_key(entry.get("id"))] = other.get("id")
    else:
      entry["name"] = f"{name} {entry.get('id')}"
      notes.append(
        f"two categories are called {shown(name)} and have different keypoints; the "
        f"second is now called {entry['name']!r}"
      )
      kept.append(entry)
  if same:
    notes.append(f"joined: {len(same)} categories that occur twice")
  for entry in annotations:
    number = entry.get("category_id")
    entry["category_id"] = same.get(_key(number), number)
  return kept, annotations


def _mend_values(
  images: Entries, categories: Entries, annotations: Entries, notes: list[str]
) -> None:
  counts = {
    _key(entry.get("id")): len(entry["keypoints"])
    for entry in categories
    if isinstance(entry.get("keypoints"), list)
  }
  bare = scored = 0
  for entry in annotations:
    values = entry.get("keypoints")
    if not coco_values.are_given(values):
      continue
    count = counts.get(_key(entry.get("category_id")))
    mended = coco_values.keypoints(values, count)
    entry["keypoints"] = mended.flat
    bare += mended.at_origin
    if mended.confidences and "confidences" not in entry:
      entry["confidences"] = mended.confidences
      scored += 1
  if bare:
    notes.append(f"missing: {bare} keypoints at (0, 0) that have no visibility")
  if scored:
    notes.append(f"confidences in the place of visibility: {scored} annotations")


def _with_boxes(images: Entries, annotations: Entries, notes: list[str]) -> Entries:
  """Makes boxes around the keypoints of annotations that have none."""
  sizes: dict[Any, Any] = {
    _key(e.get("id")): (e.get("width"), e.get("height")) for e in images
  }
  kept, made = [], 0
  for entry in annotations:
    kept.append(entry)
    size = sizes.get(_key(entry.get("image_id")), (None, None))
    is_boxed = entry.get("iscrowd") or not coco_values.has_no_box(entry.get("bbox"))
    if is_boxed or not all(map(coco_skeletons.is_integer, size)):
      continue
    values = entry["keypoints"] if isinstance(entry["keypoints"], list) else []
    triples = zip(*[iter(values)] * 3)
    seen = [(x, y) for x, y, v in triples if v and _is_real(x) and _is_real(y)]
    if seen:
      box = coco_values.box_around(seen, size)
      entry["bbox"] = [round(value, 4) for value in box]
      made += 1
    else:
      kept.pop()
  if made:
    notes.append(f"made: {made} boxes around the labelled keypoints, 10 % larger")
  if len(kept) < len(annotations):
    lost = len(annotations) - len(kept)
    notes.append(f"left out: {lost} annotations with neither a box nor a keypoint")
  return kept


def _is_real(value: Any) -> bool:
  return isinstance(value, int | float) and abs(value) < 1e9
