// Questions to the server, and files for the disk.

// Posts a file, or JSON; returns JSON, or the file that the server sent. Errors have
// the status of the answer.
export async function ask(action, content) {
  const isFile = content instanceof Blob;
  const answer = await fetch(action,
    {method: "POST", body: isFile ? content : JSON.stringify(content)});
  if (answer.headers.get("Content-Disposition")) return answer.blob();
  const said = await answer.json();
  if (!answer.ok) throw Object.assign(Error(said.error), {status: answer.status});
  return said;
}

export function saveFile(blob, name) {
  const link = Object.assign(document.createElement("a"),
    {href: URL.createObjectURL(blob), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
