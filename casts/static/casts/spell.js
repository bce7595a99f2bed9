// A spell's page: the snippets follow what is typed, rows come and go without the page being loaded anew, and a file
// that is too large is refused before it is sent. Without this script buttons do all of it.

const form = () => document.querySelector("[data-spell-form]");
const WAIT = 400; // milliseconds after the last key

async function asked(act) {
  const data = new FormData(form());
  data.set("act", act);
  const answer = await fetch(form().action, { method: "POST", body: data, redirect: "error" });
  if (!answer.ok) throw new Error(`answered ${answer.status}`);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

let waiting = 0;
let latest = 0;

async function refresh() {
  const mine = ++latest;
  let page;
  try {
    page = await asked("snippets");
  } catch {
    return; // the button is still there
  }
  if (mine !== latest) return; // typed on meanwhile
  const now = document.querySelector("#snippets");
  const next = page.querySelector("#snippets");
  if (!next) return;
  for (const one of next.querySelectorAll("details")) {
    const same = [...now.querySelectorAll("details")].find((old) => old.dataset.snippet === one.dataset.snippet);
    if (same) one.open = same.open;
  }
  now.replaceWith(next);
}

function soon() {
  clearTimeout(waiting);
  waiting = setTimeout(refresh, WAIT);
}

async function change(act) {
  const page = await asked(act);
  const next = page.querySelector("[data-spell-form]");
  if (!next) throw new Error("no form came back");
  clearTimeout(waiting);
  latest += 1;
  form().replaceWith(next);
  document.querySelector("#snippets").replaceWith(page.querySelector("#snippets"));
  // A message that was there is about what was typed before.
  document.querySelectorAll(".mistakes").forEach((old) => old.remove());
  const told = page.querySelector(".mistakes");
  if (told) form().before(told);
  (told ?? form().querySelector("[autofocus]") ?? form().querySelector("h2"))?.focus();
}

function tooLarge(input) {
  const most = Number(input.dataset.most);
  const file = input.files[0];
  const large = file && file.size > most;
  input.setCustomValidity(large ? `This file has ${file.size} bytes; at most ${most} can be sent.` : "");
  if (large) input.reportValidity();
  return large;
}

document.addEventListener("input", (event) => {
  if (!event.target.closest("[data-spell-form]")) return;
  if (event.target.type === "file" && tooLarge(event.target)) return;
  soon();
});

document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (event.target !== form() || !button?.value || button.value === "cast") return;
  event.preventDefault();
  const done = button.hasAttribute("data-refresh") ? refresh() : change(button.value);
  // What a script can't do, the browser does: sent as the button would have.
  Promise.resolve(done).catch(() => {
    const field = Object.assign(document.createElement("input"), { type: "hidden", name: "act", value: button.value });
    form().append(field);
    form().submit();
  });
});
