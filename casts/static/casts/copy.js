// Buttons that copy the text of an element (data-copies: its id).

async function copy(element) {
  const text = element.value ?? element.innerText;
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Over plain http there is no clipboard but this one.
  if (element.select) element.select();
  else getSelection().selectAllChildren(element);
  if (!document.execCommand("copy")) throw new Error("not copied");
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest?.("[data-copies]");
  const element = button && document.getElementById(button.dataset.copies);
  if (!element) return;
  button.dataset.words ??= button.textContent;
  try {
    await copy(element);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select it and copy it by hand";
  }
  setTimeout(() => (button.textContent = button.dataset.words), 2000);
});
