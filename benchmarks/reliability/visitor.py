"""A visitor of `fskd demo`: sends what the page sends, or what it never would."""

import json
from typing import Any

import httpx  # pyright: ignore[reportMissingImports]: comes with gradio


class Visitor:
  """One session of a server."""

  def __init__(self, address: str, name: str):
    """Loads the page.

    Args:
      address: `http://host:port`.
      name: of the session; another name is another visitor.
    """
    self.http = httpx.Client(base_url=address, timeout=60)
    self.config = self.http.get("/config").json()
    self.name = name

  def upload(self, *files: tuple[str, bytes], **headers: str) -> httpx.Response:
    """Uploads files, given by name and content."""
    sent = [("files", (name, content)) for name, content in files]
    return self.http.post("/gradio_api/upload", files=sent, headers=headers)

  def add(self, role: str, *files: tuple[str, bytes]) -> dict[str, Any]:
    """Uploads files, and adds them to the page as `do` does."""
    paths = self.upload(*files).json()
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths]
    return self.do(f"add_{role}", "upload", **{f"add_{role}": data})

  def do(
    self, elem_id: str, event: str, event_data: Any = None, **values: Any
  ) -> dict[str, Any]:
    """Triggers an event; returns what the components show, by their elem_id.

    Args:
      elem_id: of the component.
      event: its name.
      event_data: what comes with it.
      values: of other components; default: as at the start.

    Raises:
      RuntimeError: the server said that it had failed.
    """
    by_id = {c["id"]: c["props"].get("elem_id") for c in self.config["components"]}
    (number,) = (i for i, name in by_id.items() if name == elem_id)
    (function,) = (
      d
      for d in self.config["dependencies"]
      if [number, event] in [list(target) for target in d["targets"]]
    )
    values = {"least": 0.5, "name": "nose", "tool": "keypoint"} | values
    body = {
      "data": [values.get(by_id[i] or "") for i in function["inputs"]],
      "fn_index": function["id"],
      "session_hash": self.name,
      "event_data": event_data,
      "trigger_id": number,
    }
    self.http.post("/gradio_api/queue/join", json=body).raise_for_status()
    output = self._answer()
    return dict(zip([by_id[i] for i in function["outputs"]], output))

  def _answer(self) -> list[Any]:
    url = f"/gradio_api/queue/data?session_hash={self.name}"
    with self.http.stream("GET", url) as stream:
      for line in stream.iter_lines():
        said = json.loads(line.removeprefix("data: ")) if line else {}
        if said.get("msg") == "process_completed":
          if not said["success"]:
            raise RuntimeError(f"the server failed: {said['output']}")
          return said["output"]["data"]
    raise RuntimeError("the server did not answer")
