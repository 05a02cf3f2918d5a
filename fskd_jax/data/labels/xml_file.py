"""Reads XML of limited size and depth, without document types and entities."""

import pathlib
from typing import Any
from xml.etree import ElementTree

import defusedxml
import defusedxml.ElementTree as defused

_MOST_BYTES = 2**28
_MOST_LEVELS = 64


def parse(path: pathlib.Path) -> ElementTree.Element:
  """Returns the root element.

  Raises:
    ValueError: The file is not XML, larger than 256 MiB, nested in more than 64
      elements, or has a document type or entities.
  """
  if path.stat().st_size > _MOST_BYTES:
    raise ValueError(f"{path} is larger than {_MOST_BYTES // 2**20} MiB of XML")
  parser = defused.XMLParser(target=_Builder(), forbid_dtd=True)
  try:
    tree: Any = defused.parse(path, parser)
    return tree.getroot()
  except defusedxml.DefusedXmlException as error:
    raise ValueError(
      f"{path}: has a document type (DTD) or entities, which are not read"
    ) from error
  except (defused.ParseError, ElementTree.ParseError) as error:
    raise ValueError(f"{path}: not valid XML: {error}") from error


class _Builder(ElementTree.TreeBuilder):
  """Builder of a tree that limits its depth, since deep trees cost much time."""

  def __init__(self):
    super().__init__()
    self._depth = 0

  def start(self, tag: str, attrs: dict[str, str], /) -> ElementTree.Element:
    self._depth += 1
    if self._depth > _MOST_LEVELS:
      raise ValueError(f"elements nested in more than {_MOST_LEVELS} others")
    return super().start(tag, attrs)

  def end(self, tag: str, /) -> ElementTree.Element:
    self._depth -= 1
    return super().end(tag)
