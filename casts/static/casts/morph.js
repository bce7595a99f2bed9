// Makes one tree like another and writes only what differs, so that nothing loses its place, its focus or its selection.

const keyOf = (node) => node.id || node.dataset?.key || "";
const alike = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName && !keyOf(one);

export function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  writeAttributes(old, fresh);
  const keyed = new Map([...old.children].filter(keyOf).map((child) => [keyOf(child), child]));
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = keyOf(wanted);
    const found = key ? keyed.get(key) : at && alike(at, wanted) ? at : null;
    if (!found || found.nodeName !== wanted.nodeName) {
      old.insertBefore(document.importNode(wanted, true), at);
      continue;
    }
    if (found === at) at = at.nextSibling;
    else old.insertBefore(found, at);
    if (found.nodeType === Node.ELEMENT_NODE) morph(found, wanted);
    else if (found.data !== wanted.data) found.data = wanted.data;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function writeAttributes(old, fresh) {
  // What the reader has opened or closed stays so, unless the server has a reason of its own for it.
  const kept = old.nodeName === "DETAILS" && old.dataset.why === fresh.dataset.why ? "open" : "";
  for (const { name } of [...old.attributes]) {
    if (name !== kept && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (name !== kept && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}
