// Copies the whole of what a run came to, also where the page shows its beginning.

function ready(root) {
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.onclick = () => copy(button);
  }
}

async function whole(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${answer.status}`);
  return new Blob([await answer.text()], { type: "text/plain" });
}

async function copy(button) {
  const said = button.parentElement.querySelector("[data-copied]");
  try {
    // A promise, as some browsers let only what was begun by the click write to the clipboard.
    await navigator.clipboard.write([new ClipboardItem({ "text/plain": whole(button.dataset.copy) })]);
    said.textContent = "Copied.";
  } catch {
    said.textContent = "It could not be copied. Download it in place of that.";
  }
}

// Without HTTPS browsers have no clipboard for pages.
if (navigator.clipboard) {
  ready(document);
  document.addEventListener("swapped", (event) => ready(event.target));
}
