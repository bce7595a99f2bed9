// Buttons that copy the text of an element (data-copies: its id). Without a script they stay hidden.

async function copy(element) {
  const text = element.value ?? element.innerText;
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Over plain http there is no clipboard but this one.
  if (element.select) element.select();
  else getSelection().selectAllChildren(element);
  if (!document.execCommand("copy")) throw new Error("not copied");
}

function say(button, text, aloud) {
  const told = document.getElementById("copied"); // where it is read out; else the button's own words are
  if (told) told.textContent = aloud;
  button.textContent = text;
}

for (const button of document.querySelectorAll("[data-copies][hidden]")) button.hidden = false;

document.addEventListener("click", async ({ target }) => {
  const button = target.closest?.("[data-copies]");
  const element = button && document.getElementById(button.dataset.copies);
  if (!element) return;
  button.dataset.words ??= button.textContent;
  try {
    await copy(element);
    say(button, "Copied", "Copied.");
  } catch {
    say(button, "Select it and copy it by hand", "The browser did not let the page copy. Select the text, and copy it.");
  }
  setTimeout(() => (button.textContent = button.dataset.words), 2000);
});
