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
  """Rule for the split of a species: its rank among the classes, modulo `modulus`."""

  modulus: int
  validation: tuple[int, ...]
  unseen: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Published:
  """The facts of one data set.

  Attributes:
    name: The name of the builder, also on the command line.
    title: The usual name of the data set.
    keypoint_names: The keypoint names, in the order of the files.
    short_names: Other names for the same keypoints, in the same order.
    base: The types to train on.
    novel: The types kept for testing.
    flip_pairs: Pairs of types that a mirror exchanges.
    auxiliary_paths: The lines of the interpolated types, for training only.
    files: The authors' COCO files by split: "train", "validation" or "unseen"; a single
      file has the key "all", and the species decide.
    makers: The makers of these files.
    drive: The address of these files.
    is_numbered: Whether every species has its own keypoints, identified by their number
      in it; `mp100.release` reads such files.
    collections: The data sets that the images are from.
    image_folders: Possible folders of the images below the source folder; the first
      that exists is used.
    has_text: Whether the original release is text files.
    has_hierarchy: Whether its classes form a tree, in hierarchy.txt.
    is_pickled: Whether the original release is pickles, which are never loaded.
    instances: The expected number of annotated animals; 0 if not known.
    images: The expected number of images; 0 if not known.
    classes: The expected number of species.
    split_sizes: The expected numbers of species in train, validation and unseen.
    species: The names of all species, if known.
    unseen_species: The names of the test species, if known.
    rule: The rule for the split of a species in the text files.
    terms: The terms of use.
    citation: The publications to cite.
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
    """The expected content of the source folder, and the terms of use."""
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
