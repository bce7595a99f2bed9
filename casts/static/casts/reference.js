// Sends the examples of the API reference from the page, with a key that stays in its field.

const key = document.querySelector("#try-key");

for (const form of document.querySelectorAll('[data-part="try"], [data-part="key"]')) form.hidden = false;
document.querySelector('[data-part="key"]').addEventListener("submit", (event) => event.preventDefault());

function addressOf(path, fields) {
  const query = new URLSearchParams();
  for (const { name, value, dataset } of fields) {
    if (dataset.where === "path") path = path.replace(`{${name}}`, encodeURIComponent(value));
    else if (dataset.where === "query" && value) query.set(name, value);
  }
  return query.size ? `${path}?${query}` : path;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text; // a stream, or a file
  }
}

async function send(form) {
  const { method, path } = form.closest("[data-operation]").dataset;
  const [status, got] = ["status", "got"].map((name) => form.querySelector(`[data-part="${name}"]`));
  const headers = {};
  if (key.value) headers.Authorization = `Bearer ${key.value.trim()}`;
  const body = form.elements.body?.value;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  status.textContent = "Sending…";
  try {
    const answer = await fetch(addressOf(path, form.querySelectorAll("input")), { method, headers, body });
    status.textContent = `${answer.status} ${answer.statusText}`;
    got.textContent = pretty(await answer.text());
    got.hidden = !got.textContent;
  } catch {
    status.textContent = "No answer came.";
  }
}

for (const form of document.querySelectorAll('[data-part="try"]')) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
}
