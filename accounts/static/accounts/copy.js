// Buttons that copy what an element says. Browsers let a page copy only where it came over https, or from this machine.

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const told = document.getElementById("copied");
    try {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
      if (told) told.textContent = "Copied.";
    } catch {
      if (told) told.textContent = "The browser did not let the page copy. Select the text, and copy it.";
    }
  });
}
