// Copies the whole of what a run came to, also where the page shows its beginning.

function ready(root) {
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.onclick = () => copy(button);
  }
}

async function copy(button) {
  const said = button.parentElement.querySelector("[data-copied]");
  try {
    const answer = await fetch(button.dataset.copy);
    if (!answer.ok) throw new Error(`${answer.status}`);
    await navigator.clipboard.writeText(await answer.text());
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
