"""Schema of the facts about a published data set."""

import dataclasses

_COCO_LAYOUT = """\
  {files}
    COCO files of {makers}: in the folder itself, in
    annotations/ or in gt_coco/; from {drive}
  {images}
    the images, where file_name in these files leads{collections}"""

_TEXT_LAYOUT = """
or, of the original release:
  images.txt  image_class_labels.txt  classes.txt  bounding_boxes.txt{more}
  parts/parts.txt  parts/part_locs.txt  images/<class>/<file>"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SpeciesRule:
  """The split of a species: its place among the class numbers, modulo `modulus`."""

  modulus: int
  validation: tuple[int, ...]
  unseen: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Published:
  """One data set.

  Attributes:
    name: of the builder and of the command line.
    title: what people call it.
    keypoint_names: in the order of its files.
    short_names: other names for the same keypoints, in the same order.
    base: types trained on.
    novel: types kept for testing.
    flip_pairs: types that a mirror exchanges.
    auxiliary_paths: lines that interpolated types lie on, training only.
    files: the authors' COCO files by split: "train", "validation" or "unseen"; one
      file "all" where the species decide.
    makers: whose files these are.
    drive: where they keep them.
    is_numbered: every species has keypoints of its own, which go by their number in it;
      such files are read by `mp100.release`.
    collections: data sets that the images are to be fetched from.
    image_folders: where images may lie below the source folder; the first that is
      there.
    has_text: the original release is text files.
    has_hierarchy: its classes form a tree, in hierarchy.txt.
    is_pickled: the original release is pickles, which are never loaded.
    instances: annotated animals, expected; 0: not known.
    images: expected; 0: not known.
    classes: species, expected.
    split_sizes: species of train, validation and unseen, expected.
    species: names of all species, where they are known.
    unseen_species: names of the test species, where they are known.
    rule: which species of the text files are in which split.
    terms: what its makers allow.
    citation: whom to cite.
  """

  name: str
  title: str
  keypoint_names: tuple[str, ...]
  short_names: tuple[str, ...] = ()
  base: tuple[str, ...]
  novel: tuple[str, ...]
  flip_pairs: tuple[tuple[str, str], ...]
  auxiliary_paths: tuple[tuple[str, str], ...]
  files: dict[str, str]
  makers: str = "the authors of few-shot keypoint detection"
  drive: str
  is_numbered: bool = False
  collections: tuple[str, ...] = ()
  image_folders: tuple[str, ...] = ("images",)
  has_text: bool = False
  has_hierarchy: bool = False
  is_pickled: bool = False
  instances: int = 0
  images: int = 0
  classes: int
  split_sizes: tuple[int, int, int]
  species: tuple[str, ...] = ()
  unseen_species: tuple[str, ...] = ()
  rule: SpeciesRule | None = None
  terms: str
  citation: str

  @property
  def layout(self) -> str:
    """What to put into the source folder, and on which terms."""
    text = _COCO_LAYOUT.format(
      files="  ".join(self.files.values()),
      makers=self.makers,
      drive=self.drive,
      images=" or ".join(f"{folder}/" for folder in self.image_folders),
      collections=f"; of\n    {', '.join(self.collections)}"
      if self.collections
      else "",
    )
    if self.has_text:
      text += _TEXT_LAYOUT.format(more="  hierarchy.txt" if self.has_hierarchy else "")
    counted = f"{self.instances} instances in {self.images} images, "
    return (
      f"{self.title}: {counted if self.instances else ''}"
      f"{self.classes} species, {len(self.keypoint_names)} keypoint types.\n"
      f"Expected in the source folder:\n{text}\n"
      f"Terms: {self.terms}.\nCite: {self.citation}."
    )
